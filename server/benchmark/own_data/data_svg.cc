#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/benchmark/format.h"
#include "server/benchmark/own_data/data_report.h"
#include "server/benchmark/svg/report_svg.h"
#include "server/benchmark/svg/svg_parts.h"

namespace fff::benchmark {
namespace {

constexpr double kDataHeight = 480;
constexpr double kLegendStep = 130;
constexpr size_t kLegendColumns = 5;
constexpr int kQualityTicks = 5;

absl::string_view CssOf(size_t at) {
  return at == 0 ? "fff" : at == 1 ? "dense" : "other";
}

// Linear; what is better stands higher.
struct QualityScale {
  double worst = 0;
  double best = 1;
  double operator()(double value) const {
    const double part = (value - worst) / (best - worst);
    return kSvgBottom + std::clamp(part, 0.0, 1.0) * (kSvgTop - kSvgBottom);
  }
};

class DataChart {
 public:
  explicit DataChart(const DataReport& report) : report_(report) {
    for (size_t at = 0; at < report.candidates.size(); ++at) {
      if (report.Judged(at)) judged_.push_back(at);
    }
    FitTimes();
    FitQualities();
  }

  std::string Draw() {
    svg_ = absl::StrFormat(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
        "role=\"img\" aria-label=\"%s\">\n%s<rect class=\"bg\" width=\"%g\" "
        "height=\"%g\" rx=\"6\"/>\n",
        kSvgWidth, kDataHeight,
        SvgEscape(absl::StrCat("Accuracy and time of ", report_.latency.model)),
        kSvgStyle, kSvgWidth, kDataHeight);
    DrawTitles();
    DrawAxes();
    for (const size_t at : judged_) DrawCandidate(at);
    DrawLegend();
    return svg_ + "</svg>\n";
  }

 private:
  static double PerRow(double seconds, const BenchmarkCase& one) {
    return seconds / static_cast<double>(one.rows);
  }

  static bool IsPoint(const Latency& latency) {
    return latency.median_s > 0 && std::isfinite(latency.median_s);
  }

  void FitTimes() {
    double low_s = 1e300;
    double high_s = 0;
    for (const BenchmarkCase& one : report_.latency.cases) {
      for (const size_t at : judged_) {
        const Latency& latency = report_.Measured(at, one).latency;
        if (!IsPoint(latency) || one.rows < 1) continue;
        low_s = std::min(low_s, PerRow(latency.median_s, one));
        high_s = std::max(high_s, PerRow(latency.median_s, one));
      }
    }
    if (high_s <= 0) low_s = high_s = 1e-3;
    x_ = {std::pow(10, std::floor(std::log10(low_s) - 0.05)),
          std::pow(10, std::ceil(std::log10(high_s) + 0.05)), kSvgLeft,
          kSvgRight};
  }

  void FitQualities() {
    double low = 1e300;
    double high = -1e300;
    for (const size_t at : judged_) {
      const Interval quality = report_.Quality(at);
      const bool ends = std::isfinite(quality.low + quality.high);
      low = std::min(low, ends ? quality.low : quality.value);
      high = std::max(high, ends ? quality.high : quality.value);
    }
    const double margin = std::max(0.15 * (high - low), 1e-6);
    if (report_.truth == TruthKind::kClasses) {
      y_ = {std::max(0.0, low - margin), std::min(1.0, high + margin)};
    } else {
      y_ = {high + margin, std::max(0.0, low - margin)};
    }
  }

  void DrawTitles() {
    const BenchmarkReport& latency = report_.latency;
    absl::StrAppend(
        &svg_,
        SvgText(kSvgLeft, 28, "class=\"title\"",
                absl::StrCat(
                    latency.model, " on ", report_.rows, " rows of ",
                    report_.data.substr(report_.data.find_last_of('/') + 1))),
        SvgText(kSvgLeft, 48, "class=\"soft\"",
                absl::StrCat(latency.cpu_model, ", ", latency.isa, ", ",
                             latency.threads,
                             latency.threads == 1 ? " thread" : " threads")),
        SvgText(kSvgLeft, 66, "class=\"soft\"",
                absl::StrCat(report_.truth == TruthKind::kClasses
                                 ? "accuracy"
                                 : "RMS error, less is higher",
                             " with 95 % interval; numbers: rows of one call, "
                             "with p10 to p90")),
        SvgText((kSvgLeft + kSvgRight) / 2, kSvgBottom + 36,
                "class=\"soft\" text-anchor=\"middle\"",
                "time per row: further left is faster"));
  }

  void DrawAxes() {
    for (int i = 0; i < kQualityTicks; ++i) {
      const double value =
          y_.worst + (y_.best - y_.worst) * i / (kQualityTicks - 1.0);
      absl::StrAppend(
          &svg_, SvgLine("grid", kSvgLeft, y_(value), kSvgRight, y_(value)),
          SvgText(kSvgLeft - 8, y_(value) + 4,
                  "class=\"soft\" text-anchor=\"end\"",
                  report_.truth == TruthKind::kClasses
                      ? absl::StrFormat("%.1f %%", 100 * value)
                      : FormatNumber(value)));
    }
    const int decades =
        static_cast<int>(std::lround(std::log10(x_.high / x_.low)));
    for (int i = 0; i <= decades; ++i) {
      const double seconds = x_.low * std::pow(10, i);
      absl::StrAppend(
          &svg_, SvgLine("grid", x_(seconds), kSvgTop, x_(seconds), kSvgBottom),
          SvgText(x_(seconds), kSvgBottom + 19,
                  "class=\"soft\" text-anchor=\"middle\"",
                  DecadeLabel(seconds)));
    }
    absl::StrAppend(
        &svg_, SvgLine("axis", kSvgLeft, kSvgBottom, kSvgRight, kSvgBottom));
  }

  void DrawCandidate(size_t at) {
    const Interval quality = report_.Quality(at);
    const double y = y_(quality.value);
    for (const BenchmarkCase& one : report_.latency.cases) {
      const Latency& latency = report_.Measured(at, one).latency;
      if (!IsPoint(latency) || one.rows < 1) continue;
      const double x = x_(PerRow(latency.median_s, one));
      if (latency.p10_s > 0) {
        absl::StrAppend(&svg_,
                        SvgLine(CssOf(at), x_(PerRow(latency.p10_s, one)), y,
                                x_(PerRow(latency.p90_s, one)), y));
      }
      if (std::isfinite(quality.low + quality.high)) {
        absl::StrAppend(
            &svg_, SvgLine(CssOf(at), x, y_(quality.low), x, y_(quality.high)));
      }
      absl::StrAppend(
          &svg_, SvgMarker(CssOf(at), x, y),
          SvgText(x + 8, y - 6, "class=\"strong\"", absl::StrCat(one.rows)));
    }
  }

  void DrawLegend() {
    for (size_t i = 0; i < judged_.size(); ++i) {
      const double x =
          kSvgLeft + kLegendStep * static_cast<double>(i % kLegendColumns);
      const size_t line = i / kLegendColumns;
      const double y = kDataHeight - 34 + 20 * static_cast<double>(line);
      absl::StrAppend(
          &svg_, SvgMarker(CssOf(judged_[i]), x + 6, y - 4),
          SvgText(x + 18, y, "", report_.candidates[judged_[i]].name));
    }
  }

  const DataReport& report_;
  std::vector<size_t> judged_;
  LogScale x_{1, 10, kSvgLeft, kSvgRight};
  QualityScale y_;
  std::string svg_;
};

}  // namespace

std::string DataSvg(const DataReport& report) {
  // Without accuracies, times by batch size.
  if (!report.Best().has_value()) {
    return ReportSvg(report.latency, ChartAxis::kRows);
  }
  return DataChart(report).Draw();
}

}  // namespace fff::benchmark

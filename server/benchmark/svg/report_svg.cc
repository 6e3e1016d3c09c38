#include "server/benchmark/svg/report_svg.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/benchmark/format.h"
#include "server/benchmark/svg/svg_parts.h"

namespace fff::benchmark {
namespace {

constexpr double kHeight = 460;
constexpr double kTickGap = 30;  // between labels of the rows
constexpr size_t kDescriptionBytesMax = 100;

using ValueOf = std::function<double(const BenchmarkCase&)>;

int64_t Abscissa(const BenchmarkCase& one, ChartAxis axis) {
  return axis == ChartAxis::kRows ? one.rows : one.neurons;
}

// One time of one batch size or width; a point exists where it is positive and
// finite.
struct Point {
  double x;
  double seconds;
};

class Chart {
 public:
  Chart(const BenchmarkReport& report, ChartAxis axis)
      : report_(report), axis_(axis), cases_(report.cases) {
    std::sort(cases_.begin(), cases_.end(),
              [axis](const BenchmarkCase& a, const BenchmarkCase& b) {
                return Abscissa(a, axis) < Abscissa(b, axis);
              });
    FitScales();
  }

  std::string Draw() {
    svg_ = absl::StrFormat(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" "
        "role=\"img\" aria-label=\"%s\">\n",
        kSvgWidth, kHeight,
        SvgEscape(absl::StrCat("Latency of ", report_.model)));
    absl::StrAppend(&svg_, kSvgStyle);
    absl::StrAppendFormat(
        &svg_, "<rect class=\"bg\" width=\"%g\" height=\"%g\" rx=\"6\"/>\n",
        kSvgWidth, kHeight);
    DrawTitles();
    DrawAxes();
    DrawBound();
    DrawSeries("dense", [](const BenchmarkCase& one) { return one.dense; });
    DrawSeries("fff", [](const BenchmarkCase& one) { return one.fff; });
    DrawSpeedups();
    DrawLegend();
    return svg_ + "</svg>\n";
  }

 private:
  std::vector<Point> Points(const ValueOf& value) const {
    std::vector<Point> points;
    for (const BenchmarkCase& one : cases_) {
      const double seconds = value(one);
      const int64_t x = Abscissa(one, axis_);
      if (x > 0 && seconds > 0 && std::isfinite(seconds)) {
        points.push_back({static_cast<double>(x), seconds});
      }
    }
    return points;
  }

  double BoundSeconds(const BenchmarkCase& one) const {
    return report_.memory_gbps > 0
               ? one.fff.least_bytes / (report_.memory_gbps * 1e9)
               : 0;
  }

  void FitScales() {
    double low_s = 1e300;
    double high_s = 0;
    const std::vector<ValueOf> times = {
        [](const BenchmarkCase& one) { return one.fff.latency.p10_s; },
        [](const BenchmarkCase& one) { return one.fff.latency.p90_s; },
        [](const BenchmarkCase& one) { return one.dense.latency.p10_s; },
        [](const BenchmarkCase& one) { return one.dense.latency.p90_s; },
        [this](const BenchmarkCase& one) { return BoundSeconds(one); }};
    for (const ValueOf& time : times) {
      for (const Point& point : Points(time)) {
        low_s = std::min(low_s, point.seconds);
        high_s = std::max(high_s, point.seconds);
      }
    }
    if (high_s <= 0) low_s = high_s = 1e-3;
    // Whole decades, with room above for the speed-ups.
    y_ = {std::pow(10, std::floor(std::log10(low_s))),
          std::pow(10, std::ceil(std::log10(high_s) + 0.15)), kSvgBottom,
          kSvgTop};
    const double first =
        cases_.empty()
            ? 1
            : std::max<double>(
                  1, static_cast<double>(Abscissa(cases_.front(), axis_)));
    const double last =
        cases_.empty()
            ? 1
            : std::max<double>(
                  1, static_cast<double>(Abscissa(cases_.back(), axis_)));
    // A margin on both sides keeps points off the frame, one point included.
    const double margin = last > first ? std::pow(last / first, 0.06) : 2;
    x_ = {first / margin, last * margin, kSvgLeft, kSvgRight};
  }

  void Text(double x, double y, absl::string_view attributes,
            absl::string_view text) {
    absl::StrAppend(&svg_, SvgText(x, y, attributes, text));
  }

  void DrawTitles() {
    Text(kSvgLeft, 28, "class=\"title\"",
         absl::StrCat(report_.model, ": ", Subject()));
    Text(kSvgLeft, 48, "class=\"soft\"", absl::StrCat("dense: ", DenseText()));
    Text(kSvgLeft, 66, "class=\"soft\"",
         absl::StrCat(report_.cpu_model, ", ", report_.isa, ", ",
                      report_.threads,
                      report_.threads == 1 ? " thread" : " threads",
                      report_.cold_weights ? ", cold caches" : "",
                      "; median, band p10 to p90"));
    Text((kSvgLeft + kSvgRight) / 2, kSvgBottom + 36,
         "class=\"soft\" text-anchor=\"middle\"",
         axis_ == ChartAxis::kRows ? "rows of one call"
                                   : "neurons of the FFF (training width)");
  }

  std::string Subject() const {
    if (axis_ == ChartAxis::kRows) return "time of one call by batch size";
    const int64_t rows = cases_.empty() ? 0 : cases_.front().rows;
    return absl::StrCat("time of a call of ", rows,
                        rows == 1 ? " row" : " rows", " by training width");
  }

  // A width's own description would be wrong for the others.
  std::string DenseText() const {
    if (axis_ == ChartAxis::kNeurons &&
        report_.dense_kind == BaselineKind::kNeurons) {
      return "the FFF's own neurons, all evaluated";
    }
    return base::Printable(report_.dense_description, kDescriptionBytesMax);
  }

  void Line(absl::string_view css, double x1, double y1, double x2, double y2) {
    absl::StrAppend(&svg_, SvgLine(css, x1, y1, x2, y2));
  }

  void DrawAxes() {
    const int decades =
        static_cast<int>(std::lround(std::log10(y_.high / y_.low)));
    for (int i = 0; i <= decades; ++i) {
      const double seconds = y_.low * std::pow(10, i);
      Line("grid", kSvgLeft, y_(seconds), kSvgRight, y_(seconds));
      Text(kSvgLeft - 8, y_(seconds) + 4, "class=\"soft\" text-anchor=\"end\"",
           DecadeLabel(seconds));
    }
    double last_x = -kTickGap;
    for (const BenchmarkCase& one : cases_) {
      const int64_t value = Abscissa(one, axis_);
      if (value < 1) continue;
      const double x = x_(static_cast<double>(value));
      Line("axis", x, kSvgBottom, x, kSvgBottom + 5);
      if (x - last_x < kTickGap) continue;
      last_x = x;
      Text(x, kSvgBottom + 19, "class=\"soft\" text-anchor=\"middle\"",
           absl::StrCat(value));
    }
    Line("axis", kSvgLeft, kSvgBottom, kSvgRight, kSvgBottom);
  }

  std::string Coordinates(const std::vector<Point>& points) const {
    std::string text;
    for (const Point& point : points) {
      absl::StrAppendFormat(&text, "%.1f,%.1f ", x_(point.x),
                            y_(point.seconds));
    }
    return text;
  }

  void Polyline(absl::string_view css, const std::vector<Point>& points) {
    if (points.empty()) return;
    absl::StrAppendFormat(&svg_, "<polyline class=\"%s\" points=\"%s\"/>\n",
                          css, Coordinates(points));
  }

  void DrawSeries(
      absl::string_view css,
      const std::function<Measurement(const BenchmarkCase&)>& side) {
    const std::vector<Point> median = Points(
        [&](const BenchmarkCase& one) { return side(one).latency.median_s; });
    std::vector<Point> band = Points(
        [&](const BenchmarkCase& one) { return side(one).latency.p90_s; });
    std::vector<Point> below = Points(
        [&](const BenchmarkCase& one) { return side(one).latency.p10_s; });
    band.insert(band.end(), below.rbegin(), below.rend());
    absl::StrAppendFormat(&svg_,
                          "<polygon class=\"band %sdot\" points=\"%s\"/>\n",
                          css, Coordinates(band));
    Polyline(css, median);
    for (const Point& point : median) {
      DrawMarker(css, x_(point.x), y_(point.seconds));
    }
  }

  void DrawMarker(absl::string_view css, double x, double y) {
    absl::StrAppend(&svg_, SvgMarker(css, x, y));
  }

  void DrawBound() {
    Polyline("bound", Points([this](const BenchmarkCase& one) {
               return BoundSeconds(one);
             }));
  }

  void DrawSpeedups() {
    for (const BenchmarkCase& one : cases_) {
      const double top_s =
          std::max(one.fff.latency.p90_s, one.dense.latency.p90_s);
      const int64_t value = Abscissa(one, axis_);
      if (value < 1 || !(one.speedup > 0) || !(top_s > 0)) continue;
      Text(x_(static_cast<double>(value)), y_(top_s) - 10,
           "class=\"strong\" text-anchor=\"middle\"",
           FormatNumber(one.speedup) + "x");
    }
  }

  void DrawLegend() {
    const double y = kHeight - 14;
    Line("fff", kSvgLeft, y - 4, kSvgLeft + 28, y - 4);
    DrawMarker("fff", kSvgLeft + 14, y - 4);
    Text(kSvgLeft + 36, y, "", "FFF");
    Line("dense", kSvgLeft + 90, y - 4, kSvgLeft + 118, y - 4);
    DrawMarker("dense", kSvgLeft + 104, y - 4);
    Text(kSvgLeft + 126, y, "", "dense");
    if (report_.memory_gbps > 0 && HasBound()) {
      Line("bound", kSvgLeft + 196, y - 4, kSvgLeft + 224, y - 4);
      Text(kSvgLeft + 232, y, "",
           absl::StrFormat("FFF's bytes at %s GB/s",
                           FormatNumber(report_.memory_gbps)));
    }
    Text(kSvgRight, y, "class=\"strong\" text-anchor=\"end\"",
         "Nx: speed-up of FFF over dense");
  }

  bool HasBound() const {
    return std::any_of(
        cases_.begin(), cases_.end(),
        [](const BenchmarkCase& one) { return one.fff.least_bytes > 0; });
  }

  const BenchmarkReport& report_;
  const ChartAxis axis_;
  std::vector<BenchmarkCase> cases_;
  LogScale x_{1, 10, kSvgLeft, kSvgRight};
  LogScale y_{1, 10, kSvgBottom, kSvgTop};
  std::string svg_;
};

}  // namespace

std::string ReportSvg(const BenchmarkReport& report, ChartAxis axis) {
  return Chart(report, axis).Draw();
}

}  // namespace fff::benchmark

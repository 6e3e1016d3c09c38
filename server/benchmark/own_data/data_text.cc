#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/benchmark/disturbance.h"
#include "server/benchmark/format.h"
#include "server/benchmark/own_data/advice.h"
#include "server/benchmark/own_data/data_report.h"
#include "server/benchmark/text_table.h"

namespace fff::benchmark {
namespace {

constexpr size_t kClassesShown = 12;

std::string Count(int64_t count, absl::string_view what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

std::string Title(const DataReport& report) {
  const BenchmarkReport& latency = report.latency;
  const int64_t timed =
      latency.cases.empty() ? 0 : latency.cases.front().input_rows;
  std::string text = absl::StrCat(
      base::Printable(latency.model), ", version ", latency.version, ", on ",
      Count(report.rows, "row"), " of ", base::Printable(report.data), ", ",
      timed,
      " of them timed\n  dense: ", base::Printable(latency.dense_description),
      "\n");
  if (!report.versions_left_out.empty()) {
    absl::StrAppend(
        &text, "  left out: ", base::Printable(report.versions_left_out), "\n");
  }
  return absl::StrCat(
      text, "  on ", base::Printable(latency.cpu_model), ", ",
      base::Printable(latency.isa), ", ", base::Printable(latency.device), ", ",
      Count(latency.threads, "thread"),
      latency.cold_weights ? ", caches flushed" : ", weights warm", "\n\n");
}

std::string QualityCell(const DataReport& report, double value) {
  if (report.truth == TruthKind::kClasses) {
    return absl::StrFormat("%.2f%%", 100 * value);
  }
  return FormatNumber(value);
}

std::string WorseCell(const DataReport& report, size_t at, size_t best) {
  if (at == best) return "best";
  const Interval worse = report.Worse(at, best);
  if (report.truth == TruthKind::kClasses) {
    return absl::StrFormat("%.2f points less (%.2f .. %.2f)", 100 * worse.value,
                           100 * worse.low, 100 * worse.high);
  }
  return absl::StrFormat("%s more mean square (%s .. %s)",
                         FormatNumber(worse.value), FormatNumber(worse.low),
                         FormatNumber(worse.high));
}

std::string Qualities(const DataReport& report) {
  const std::optional<size_t> best = report.Best();
  if (!best.has_value()) return "";
  std::vector<std::vector<std::string>> rows;
  for (size_t at = 0; at < report.candidates.size(); ++at) {
    const Candidate& candidate = report.candidates[at];
    if (!report.Judged(at)) {
      rows.push_back({candidate.name, "-", "not trained: shows cost alone"});
      continue;
    }
    const Interval quality = report.Quality(at);
    rows.push_back({candidate.name, QualityCell(report, quality.value),
                    absl::StrCat(QualityCell(report, quality.low), " .. ",
                                 QualityCell(report, quality.high)),
                    absl::StrCat(candidate.losses.size()),
                    WorseCell(report, at, *best)});
  }
  const bool classes = report.truth == TruthKind::kClasses;
  return absl::StrCat(TextTable({"what", classes ? "accuracy" : "RMS error",
                                 "95 %", "answers", "on the same rows"},
                                rows),
                      "\n");
}

std::string Latencies(const DataReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const BenchmarkCase& one : report.latency.cases) {
    const double fff_s = one.fff.latency.median_s;
    for (size_t at = 0; at < report.candidates.size(); ++at) {
      const Measurement& side = report.Measured(at, one);
      const double median_s = side.latency.median_s;
      rows.push_back({absl::StrCat(one.rows), report.candidates[at].name,
                      FormatSeconds(median_s),
                      absl::StrCat(FormatSeconds(side.latency.p10_s), " .. ",
                                   FormatSeconds(side.latency.p90_s)),
                      FormatSeconds(median_s / static_cast<double>(one.rows)),
                      fff_s > 0 ? FormatNumber(median_s / fff_s) + "x" : "-",
                      side.kernel});
    }
  }
  return TextTable(
      {"rows", "what", "median", "p10 .. p90", "per row", "of FFF's", "kernel"},
      rows);
}

std::string Leaves(const DataReport& report) {
  if (report.latency.cases.empty()) return "";
  const BenchmarkCase& one = report.latency.cases.front();
  if (one.leaves <= 0) return "";
  return absl::StrFormat(
      "The timed rows reach %d of %d leaves (%.0f %%); one leaf answers %.0f "
      "%% of them.\n",
      one.distinct_leaves, one.leaves,
      100.0 * static_cast<double>(one.distinct_leaves) /
          static_cast<double>(one.leaves),
      100 * one.top_leaf_share);
}

// Of the first two: the FFF's share less that of dense.
double Gap(const ClassScore& score) {
  return static_cast<double>(score.right[0] - score.right[1]) /
         static_cast<double>(score.answers);
}

std::string Classes(const DataReport& report) {
  if (report.classes.empty() || !report.Judged(0) || !report.Judged(1)) {
    return "";
  }
  std::vector<ClassScore> classes = report.classes;
  if (classes.size() > kClassesShown) {
    std::stable_sort(classes.begin(), classes.end(),
                     [](const ClassScore& a, const ClassScore& b) {
                       return std::abs(Gap(a)) > std::abs(Gap(b));
                     });
    classes.resize(kClassesShown);
  }
  std::vector<std::vector<std::string>> rows;
  for (const ClassScore& score : classes) {
    const auto share = [&](int64_t right) {
      return absl::StrFormat("%.1f%%", 100.0 * static_cast<double>(right) /
                                           static_cast<double>(score.answers));
    };
    rows.push_back({base::Printable(score.label), absl::StrCat(score.answers),
                    share(score.right[0]), share(score.right[1]),
                    absl::StrFormat("%+.1f", 100 * Gap(score))});
  }
  return absl::StrCat(
      "\n", TextTable({"class", "answers", "FFF", "dense", "points"}, rows),
      classes.size() < report.classes.size()
          ? absl::StrCat("The ", classes.size(), " of ", report.classes.size(),
                         " classes that differ most.\n")
          : "");
}

}  // namespace

std::string DataText(const DataReport& report, bool advice) {
  std::string text = absl::StrCat(
      Title(report), Qualities(report), Latencies(report),
      DisturbanceText(report.latency), Leaves(report), Classes(report),
      "\nMedian wall time of one call in the server, all measured in turns on "
      "the same rows of yours.\n");
  if (!advice) return text;
  return absl::StrCat(text, "\n", AdviceText(Advise(report)));
}

}  // namespace fff::benchmark

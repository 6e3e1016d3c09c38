#include "server/benchmark/report_text.h"

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/benchmark/disturbance.h"
#include "server/benchmark/feedforward_share.h"
#include "server/benchmark/format.h"
#include "server/benchmark/layers_text.h"
#include "server/benchmark/text_table.h"

namespace fff::benchmark {
namespace {

// Empty when the report does not know it.
std::string Peak(double peak_gflops) {
  if (peak_gflops <= 0) return "";
  return absl::StrCat(", matrix product ", FormatNumber(peak_gflops),
                      " GFLOP/s");
}

// "88.1 %", or "unknown".
std::string Percent(const std::optional<double>& share) {
  return share.has_value() ? absl::StrFormat("%.2f %%", 100 * *share)
                           : "unknown";
}

std::string AccuracyLine(const Accuracy& accuracy) {
  if (!accuracy.fff.has_value() && !accuracy.dense.has_value()) return "";
  return absl::StrCat("\n  accuracy: FFF ", Percent(accuracy.fff), ", dense ",
                      Percent(accuracy.dense), " on ",
                      base::Printable(accuracy.data));
}

std::string Title(const BenchmarkReport& report) {
  // Names come from a peer or a file: nothing of them moves the cursor.
  std::string title = base::Printable(report.model);
  if (report.version > 0) {
    absl::StrAppend(&title, ", version ", report.version);
  }
  absl::StrAppend(&title,
                  "\n  dense: ", base::Printable(report.dense_description));
  for (const Baseline& baseline : report.other_baselines) {
    absl::StrAppend(&title, "\n  also ", base::Printable(baseline.description));
  }
  if (!report.baselines_left_out.empty()) {
    absl::StrAppend(
        &title, "\n  left out: ", base::Printable(report.baselines_left_out));
  }
  absl::StrAppend(&title, AccuracyLine(report.accuracy));
  absl::StrAppend(
      &title, "\n  on ", base::Printable(report.cpu_model), ", ",
      base::Printable(report.isa), ", ", base::Printable(report.device), ", ",
      report.threads, report.threads == 1 ? " thread" : " threads",
      " for both; copy bandwidth ", FormatNumber(report.memory_gbps), " GB/s",
      Peak(report.peak_gflops));
  absl::StrAppend(&title, "\n  per row: FFF ",
                  FormatNumber(report.fff_flops_per_row / 1e3), " kFLOP, ",
                  FormatNumber(report.fff_bytes_per_row / 1e3), " kB; dense ",
                  FormatNumber(report.dense_flops_per_row / 1e3), " kFLOP, ",
                  FormatNumber(report.dense_bytes_per_row / 1e3), " kB\n\n");
  return title;
}

// "1.2 µs .. 1.5 µs, 1.9 µs": p10, p90 and p99.
std::string Spread(const Latency& latency) {
  return absl::StrCat(FormatSeconds(latency.p10_s), " .. ",
                      FormatSeconds(latency.p90_s), ", ",
                      FormatSeconds(latency.p99_s));
}

// "12.3 (31%)": GB/s and its part of the copy bandwidth.
std::string Bandwidth(const Measurement& measured, double memory_gbps) {
  if (memory_gbps <= 0) return FormatNumber(measured.gbps);
  return absl::StrFormat("%s (%.0f%%)", FormatNumber(measured.gbps),
                         100 * measured.gbps / memory_gbps);
}

// "210 (84%)": GFLOP/s and its part of what this machine reached.
std::string Arithmetic(const Measurement& measured, double peak_gflops) {
  if (peak_gflops <= 0) return FormatNumber(measured.gflops);
  return absl::StrFormat("%s (%.0f%%)", FormatNumber(measured.gflops),
                         100 * measured.gflops / peak_gflops);
}

std::string Figures(const BenchmarkReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const BenchmarkCase& one : report.cases) {
    rows.push_back({absl::StrCat(one.rows),
                    one.neurons > 0 ? absl::StrCat(one.neurons) : "-",
                    FormatSeconds(one.fff.latency.median_s),
                    FormatSeconds(one.dense.latency.median_s),
                    FormatNumber(one.speedup) + "x",
                    FormatNumber(one.fff.rows_per_s),
                    Bandwidth(one.fff, report.memory_gbps),
                    Arithmetic(one.fff, report.peak_gflops),
                    Arithmetic(one.dense, report.peak_gflops),
                    absl::StrCat(one.distinct_leaves),
                    absl::StrFormat("%.1f%%", 100 * one.top_leaf_share)});
  }
  return TextTable(
      {"rows", "neurons", "FFF", "dense", "speed-up", "FFF rows/s", "FFF GB/s",
       "FFF GFLOP/s", "dense GFLOP/s", "leaves", "top leaf"},
      rows);
}

// Where the time of a network goes; empty for a layer alone.
std::string Shares(const BenchmarkReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const BenchmarkCase& one : report.cases) {
    const std::optional<FeedforwardShare> share = ShareOf(report, one);
    if (!share.has_value()) continue;
    rows.push_back({absl::StrCat(one.rows), FormatSeconds(share->without_s),
                    absl::StrFormat("%.0f%%", 100 * share->of_fff),
                    absl::StrFormat("%.0f%%", 100 * share->of_dense),
                    share->layers_speedup > 0
                        ? FormatNumber(share->layers_speedup) + "x"
                        : "-",
                    FormatNumber(share->network_speedup) + "x",
                    FormatNumber(share->speedup_max) + "x"});
  }
  if (rows.empty()) return "";
  return absl::StrCat(
      TextTable({"rows", "without", "of FFF", "of dense", "layers", "network",
                 "at most"},
                rows),
      "Without: the network without its FFF layers. Their part of the FFF and "
      "of the dense\nnetwork's time, the speed-up of these layers alone, of "
      "the "
      "network, and of the network\nif they took no time.\n\n");
}

std::vector<std::string> SpreadRow(const BenchmarkCase& one,
                                   absl::string_view what,
                                   const Measurement& measured) {
  const double fff_s = one.fff.latency.median_s;
  return {absl::StrCat(one.rows),
          std::string(what),
          FormatSeconds(measured.latency.median_s),
          Spread(measured.latency),
          FormatNumber(fff_s > 0 ? measured.latency.median_s / fff_s : 0) + "x",
          absl::StrCat(measured.latency.samples, " x ", measured.repetitions),
          measured.kernel};
}

std::string Spreads(const BenchmarkReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const BenchmarkCase& one : report.cases) {
    rows.push_back(SpreadRow(one, "FFF", one.fff));
    rows.push_back(SpreadRow(
        one, absl::StrCat("dense: ", Name(report.dense_kind)), one.dense));
    for (size_t i = 0; i < one.other_baselines.size(); ++i) {
      const std::string kind =
          i < report.other_baselines.size()
              ? std::string(Name(report.other_baselines[i].kind))
              : "?";
      rows.push_back(SpreadRow(one, absl::StrCat("dense: ", kind),
                               one.other_baselines[i]));
    }
  }
  return TextTable({"rows", "what", "median", "p10 .. p90, p99", "FFF is",
                    "samples x calls", "kernel"},
                   rows);
}

}  // namespace

std::string ReportText(const BenchmarkReport& report) {
  return absl::StrCat(
      Title(report), Figures(report), DisturbanceText(report), "\n",
      Shares(report), LayersText(report), Spreads(report),
      "\nMedian wall time of one call, FFF and dense measured in turns on the "
      "same ",
      report.own_rows ? "rows of yours, " : "random rows, ",
      report.cold_weights ? "caches\nflushed before each call"
                          : "weights\nwarm",
      ". GB/s counts every weight that a call touches once, its inputs and its "
      "outputs;\nabove 100 % of the copy bandwidth the weights come from a "
      "cache. GFLOP/s stand beside a\nmatrix product measured in the same run. "
      "Leaves: distinct ones over all inputs that the\ncalls cycle through; "
      "top leaf: share of the rows that end in one leaf.\n");
}

}  // namespace fff::benchmark

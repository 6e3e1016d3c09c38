#include "server/benchmark/report_text.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/benchmark/format.h"
#include "server/benchmark/text_table.h"

namespace fff::benchmark {
namespace {

// Empty when the report does not know it.
std::string Peak(double peak_gflops) {
  if (peak_gflops <= 0) return "";
  return absl::StrCat(", matrix product ", FormatNumber(peak_gflops),
                      " GFLOP/s");
}

std::string Title(const BenchmarkReport& report) {
  // Names come from a peer or a file: nothing of them moves the cursor.
  std::string title = base::Printable(report.model);
  if (report.version > 0) {
    absl::StrAppend(&title, ", version ", report.version);
  }
  absl::StrAppend(&title,
                  "\n  dense: ", base::Printable(report.dense_description));
  absl::StrAppend(
      &title, "\n  on ", base::Printable(report.cpu_model), ", ",
      base::Printable(report.isa), ", ", base::Printable(report.device), ", ",
      report.threads, report.threads == 1 ? " thread" : " threads",
      " for both; copy bandwidth ", FormatNumber(report.memory_gbps), " GB/s",
      Peak(report.peak_gflops));
  absl::StrAppend(&title, "\n  a row: FFF ",
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

std::string Figures(const BenchmarkReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const BenchmarkCase& one : report.cases) {
    rows.push_back(
        {absl::StrCat(one.rows), FormatSeconds(one.fff.latency.median_s),
         FormatSeconds(one.dense.latency.median_s),
         FormatNumber(one.speedup) + "x", FormatNumber(one.fff.rows_per_s),
         Bandwidth(one.fff, report.memory_gbps), FormatNumber(one.dense.gflops),
         absl::StrCat(one.distinct_leaves),
         absl::StrFormat("%.1f%%", 100 * one.top_leaf_share)});
  }
  return TextTable({"rows", "FFF", "dense", "speed-up", "FFF rows/s",
                    "FFF GB/s", "dense GFLOP/s", "leaves", "top leaf"},
                   rows);
}

std::string Spreads(const BenchmarkReport& report) {
  std::vector<std::vector<std::string>> rows;
  for (const BenchmarkCase& one : report.cases) {
    rows.push_back({absl::StrCat(one.rows), Spread(one.fff.latency),
                    one.fff.kernel, Spread(one.dense.latency),
                    one.dense.kernel});
  }
  return TextTable({"rows", "FFF p10 .. p90, p99", "kernel",
                    "dense p10 .. p90, p99", "kernel"},
                   rows);
}

}  // namespace

std::string ReportText(const BenchmarkReport& report) {
  return absl::StrCat(
      Title(report), Figures(report), "\n", Spreads(report),
      "\nMedian wall time of one call, FFF and dense measured in turns on the "
      "same random rows, ",
      report.cold_weights ? "caches\nflushed before each call"
                          : "weights\nwarm",
      ". GB/s counts every weight that a call touches once, its inputs and its "
      "outputs;\nabove 100 % of the copy bandwidth the weights come from a "
      "cache. Leaves: distinct ones over\nall inputs that the calls cycle "
      "through; top leaf: share of the rows that end in one leaf.\n");
}

}  // namespace fff::benchmark

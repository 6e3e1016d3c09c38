#pragma once

#include <string>

#include "server/benchmark/report.h"

namespace fff::benchmark {

// The report for programs, one JSON object, indented, ends with a newline.
// Times in seconds, rates in 1e9 per second. `cases` holds one object per batch
// size with the keys
//   case, rows, threads, fff, dense, speedup, kernel, gbps,
//   bandwidth_fraction, distinct_leaves, top_leaf_share, leaves_per_call,
//   input_rows, leaves, waited_share, disturbed
// where `fff` and `dense` hold median_s, p10_s, p90_s, p99_s, min_s, mean_s,
// samples, repetitions, rows_per_s, gflops, gbps, least_bytes and kernel, and
// `kernel` and `gbps` repeat the FFF's. When there is exactly one batch size,
// its keys stand at the top level as well.
std::string ReportJson(const BenchmarkReport& report);

}  // namespace fff::benchmark

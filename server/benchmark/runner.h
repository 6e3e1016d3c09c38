#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/benchmark/baselines.h"
#include "server/benchmark/input_rows.h"
#include "server/benchmark/report.h"
#include "server/model/model.h"

// Measures a model against its dense twin on this machine. The Benchmark RPC
// and the command line both run this.
namespace fff::benchmark {

// Bounds on what a caller may ask for.
inline constexpr int kBatchSizesMax = 16;
inline constexpr int64_t kBatchRowsMax = 65536;
inline constexpr double kSecondsPerCaseMax = 30;
inline constexpr int kThreadsMax = 1024;
// Fewer samples than this are no median; one implementation may exceed its time
// to reach it, but see kSecondsHardMax.
inline constexpr int64_t kSamplesMin = 5;
// One batch size ends after this time whatever was sampled (never less than one
// sample of each implementation).
inline constexpr double kSecondsHardMax = 90;

struct BenchmarkOptions {
  std::vector<int64_t> batch_rows = {1, 16, 256, 2048};
  // Time of one implementation at one batch size.
  double seconds_per_case = 0.5;
  int threads = 1;  // of both implementations
  uint64_t seed = 1;
  // Flush the caches before every call: what a model costs whose weights were
  // pushed out since its last request.
  bool cold_weights = false;
  // Off: the dense network that `speedup` rests on alone, in half the time.
  bool other_baselines = true;
  // To measure with instead of random ones: finite, integers within their
  // inputs' limits. The caller keeps their memory. None: random ones.
  OwnRows own_rows;
  // Measured beside `fff` and `dense`.
  std::vector<Opponent> beside;
  // Off: memory_gbps and peak_gflops stay 0 (saves part of a second and the
  // probes' buffers).
  bool probe_machine = true;
};

// OK, or INVALID_ARGUMENT that says which option, what was got and wanted.
absl::Status CheckOptions(const BenchmarkOptions& options);

// Told before every step: done of total steps, and what comes now. Called on
// the thread that runs the benchmark; false cancels the run.
using ProgressCallback =
    std::function<bool(int done, int total, absl::string_view step)>;

// Measures `fff` and `dense` alternately, in interleaved blocks, so that a
// disturbance of the machine hits both; with options.other_baselines also those
// of BuildBaselines. All see the same rows: options.own_rows, or
// standard-normal ones. Operations and bytes per second stay 0 for sequences
// that are not as long as those which the layers' costs are of
// (model::SampleTokens). Blocks the calling thread, which counts as one of
// options.threads. Allocates inputs and outputs, never more than
// kActivationBytesMax per batch size, the weights of the other baselines, and
// 512 MiB for the probe of the machine.
//
// Fills everything but model, version, accuracy and server_version, which the
// caller knows. Errors: INVALID_ARGUMENT (options, or models of unequal
// widths), RESOURCE_EXHAUSTED (a batch above kActivationBytesMax), CANCELLED.
absl::StatusOr<BenchmarkReport> RunBenchmark(const model::Model& fff,
                                             const Opponent& dense,
                                             const BenchmarkOptions& options,
                                             const ProgressCallback& progress);

}  // namespace fff::benchmark

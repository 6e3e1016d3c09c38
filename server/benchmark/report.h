#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/benchmark/statistics.h"

// What one benchmark run found, as plain values. Field names follow
// fff.v1.BenchmarkReport.
namespace fff::benchmark {

// What the layers of one description take of one call, all of them together.
struct LayerTime {
  std::string layer;  // "linear: 768 -> 3072, gelu"
  int64_t count = 1;
  bool routes = false;  // an FFF layer
  double seconds = 0;
};

// One implementation at one batch size. A sample is the mean of `repetitions`
// calls in a row, so that the clock's resolution does not matter for calls of
// less than a microsecond.
struct Measurement {
  Latency latency;
  int64_t repetitions = 0;
  double rows_per_s = 0;  // at the median
  double gflops = 0;      // floating point operations of the layers, 1e9 per s
  // least_bytes at the median, 1e9 bytes per second. Above memory_gbps when the
  // weights stay in a cache.
  double gbps = 0;
  // What a call cannot avoid to move: every weight that the batch touches once,
  // inputs read once, outputs written once.
  double least_bytes = 0;
  std::string kernel;  // those of the model's layers, each once, joined by '+'
  // Of a network: where the time of one call goes, in the network's order.
  // Empty for a layer alone and where a device computes.
  std::vector<LayerTime> layers;
};

// What a dense network stands for.
enum class BaselineKind {
  kNeurons,         // the FFF's own neurons, all evaluated (training width)
  kInferenceWidth,  // as many neurons as one row of the FFF uses
  kTrained,         // trained for the task
  kChosen,          // what the benchmark case names
  // The network without its FFF layers: what no faster layer can save.
  kWithoutFeedforward,
  kOtherVersion,  // not dense: the FFF of another version of the model
};
// "neurons", "inference_width", "trained", "chosen", "without_feedforward",
// "other_version".
absl::string_view Name(BaselineKind kind);

struct Baseline {
  BaselineKind kind = BaselineKind::kNeurons;
  std::string description;
  double flops_per_row = 0;
  double bytes_per_row = 0;  // weights, input and output
  int64_t version = 0;       // of kOtherVersion
};

// Shares of correct answers, 0..1, as the model's config.json states them.
struct Accuracy {
  std::optional<double> fff;
  std::optional<double> dense;
  std::string data;  // what they were measured on
};

struct BenchmarkCase {
  int64_t rows = 0;  // of one call
  Measurement fff;
  Measurement dense;
  double speedup = 0;  // dense median / FFF median
  // Neurons of the layers that route, all trees and leaves: the training width.
  // 0 in the report of a server that does not say so yet.
  int64_t neurons = 0;
  // Over all input rows that the calls cycle through. Models with several
  // routed layers or trees report the largest layer and tree.
  int64_t distinct_leaves = 0;
  double top_leaf_share = 0;  // rows that the most used leaf answers, 0..1
  int64_t input_rows = 0;  // distinct input rows that the calls cycle through
  double leaves_per_call = 0;  // mean number of distinct leaves of one call
  int64_t leaves = 0;  // there are, of which distinct_leaves were reached
  // Part of the time, 0..1, in which the thread that measured waited for a
  // processor that another process had.
  double waited_share = 0;
  // One for each of the report's other_baselines, in their order.
  std::vector<Measurement> other_baselines;
};

struct BenchmarkReport {
  std::string model;  // or the name of the case
  int64_t version = 0;
  // What every case's `dense` is, on which `speedup` rests.
  BaselineKind dense_kind = BaselineKind::kNeurons;
  std::string dense_description;
  // The dense networks measured beside it, on the same rows in the same turns.
  std::vector<Baseline> other_baselines;
  // Why a baseline is not there; empty when all are.
  std::string baselines_left_out;
  Accuracy accuracy;
  std::vector<BenchmarkCase> cases;  // one per batch size
  int threads = 1;
  bool cold_weights = false;  // caches were flushed before every call
  bool own_rows = false;      // the caller's rows, not random ones
  std::string cpu_model;
  std::string isa;
  std::string device;
  // Copy bandwidth of this machine, measured in the same run with the same
  // number of threads; bytes read plus bytes written.
  double memory_gbps = 0;
  // Dense fp32 arithmetic of this machine, measured likewise, 1e9 per second.
  double peak_gflops = 0;
  uint64_t seed = 0;
  double fff_flops_per_row = 0;
  double dense_flops_per_row = 0;
  // Weights that one row alone touches, its input and its output.
  double fff_bytes_per_row = 0;
  double dense_bytes_per_row = 0;
  std::string server_version;
};

}  // namespace fff::benchmark

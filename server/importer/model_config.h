#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/graph/problem.h"
#include "server/importer/input_config.h"
#include "server/importer/layer_config.h"
#include "server/importer/networks/crammed_arch.h"

// config.json as plain values (design: "On disk"). Parsing knows no tensors;
// what a checkpoint must hold is checked by the builder.
namespace fff::importer {

inline constexpr size_t kConfigBytesMax = 1 << 20;

struct BatchingConfig {
  int64_t max_batch_rows = 4096;
  int64_t max_queue_delay_us = 0;
  int64_t max_queue_rows = 65536;
  // Where rows are sequences of any length.
  int64_t max_batch_tokens = 4096;
  int64_t max_queue_tokens = 65536;
};

// What the model's author measured, for reports: shares of correct answers,
// 0 < share <= 1.
struct AccuracyConfig {
  std::optional<double> fff;
  std::optional<double> dense;  // of dense.safetensors
  std::string data;             // what they were measured on
};

// How fp32 fff layers may be evaluated on the CPU. kFff: the nodes on the path
// alone. kAuto: also all nodes with those beside the path masked, at the batch
// sizes at which that is faster. Routes and outputs are the same bits, but for
// the sign of a zero output.
enum class EngineChoice { kFff, kAuto };

enum class DeviceChoice { kAuto, kCpu, kCuda };

// What becomes of a row that holds NaN or infinity: computed, or its request
// refused.
enum class NonFinite { kCompute, kRefuse };

// Whether a model has a dense twin beside it. kLazy: built when somebody asks
// for it.
enum class DenseChoice { kOn, kLazy, kOff };

// versions: {"latest": n} | {"all": true} | {"specific": [..]}
struct VersionPolicy {
  enum class Kind { kLatest, kAll, kSpecific };
  Kind kind = Kind::kLatest;
  int64_t latest = 1;
  std::vector<int64_t> specific;
};

struct ModelConfig {
  std::vector<LayerConfig> layers;  // empty = one fff layer, detected
  // Layers of dense.safetensors; empty = linear, relu, linear, ... detected.
  std::vector<LayerConfig> dense_layers;
  // Instead of layers and inputs: a network that they follow from
  // (networks/crammed_bert.h).
  std::optional<CrammedArch> crammed_bert;
  std::vector<EdgeConfig> inputs = {EdgeConfig()};  // one of data, masks
  EdgeConfig output;
  // Which dict of a torch archive holds the weights, as a path of keys with
  // dots between (checkpoint/state_dict_choice.h). "" = the only one that can.
  std::string checkpoint_entry;
  BatchingConfig batching;
  // fp32, bf16 or int8: how the matrices of fff layers are held, on the
  // CPU and, but for int8, on devices (which round rows to bf16, too). Other
  // layers and the dense twin stay fp32 on the CPU.
  graph::Precision precision = graph::Precision::kFp32;
  // A file of the version directory with the rows on which a precision other
  // than fp32 is held against fp32 when the version is loaded: one tensor
  // [rows, input width]. "" = random rows.
  std::string precision_rows;
  EngineChoice engine = EngineChoice::kFff;
  DeviceChoice device = DeviceChoice::kAuto;
  std::optional<NonFinite> non_finite;  // nothing: as the server says
  DenseChoice dense = DenseChoice::kOn;
  VersionPolicy versions;
  std::vector<int64_t> warmup_batch_rows = {1, 64};
  AccuracyConfig accuracy;
};

// Parses config.json, ours or that of a network that needs no layers
// (networks/crammed_arch.h). INVALID_ARGUMENT messages name `source` (the
// file), the key as a path ("layers[1].activation"), what was found and what is
// allowed. Unknown keys, duplicate keys, wrong types and out-of-range numbers
// are errors.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json,
                                             const std::string& source);

}  // namespace fff::importer

#pragma once

#include <memory>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "server/engine/weights.h"
#include "server/model/convention.h"
#include "server/model/master_leaf_layer.h"
#include "server/model/model_config.h"
#include "server/model/tensor_reader.h"

namespace fff::model {

// An FFF of the path family as the checkpoint holds it. T*N is trees x nodes.
struct LoadedPath {
  engine::PathProblem problem;
  tensor::FloatArray x;     // [T*N, I]
  tensor::FloatArray bias;  // [T*N] or empty
  tensor::FloatArray y;     // [T*N, O], or [O, T*N] when y_transposed
  bool y_transposed = false;
};

struct LoadedLeaf {
  std::shared_ptr<const engine::LeafWeights> weights;
  std::shared_ptr<const MasterLeafWeights> master;  // null without one
};

// One fff layer's weights, checked: shapes agree, every value is finite, the
// `depth` scalar (when there is one) says what the shapes say.
struct LoadedFff {
  const Convention* convention = nullptr;
  std::string prefix;            // as configured or detected
  bool explicit_choice = false;  // config.json named convention or family
  std::variant<LoadedPath, LoadedLeaf> weights;
};

// Detects prefix and convention where config.json leaves them out and reads the
// tensors. What could be shared with the checkpoint's storage is. Errors are
// INVALID_ARGUMENT and name the tensor, found and wanted.
absl::StatusOr<LoadedFff> LoadFff(const FffLayerConfig& config,
                                  TensorReader& reader);

// Node-major weights as the engine wants them; copies only a transposed y.
std::shared_ptr<const engine::PathWeights> ToEngineWeights(
    const LoadedPath& path);

}  // namespace fff::model

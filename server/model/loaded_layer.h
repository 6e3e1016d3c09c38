#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/weights.h"
#include "server/model/fff_weights.h"
#include "server/model/model_config.h"
#include "server/tensor/float_array.h"

namespace fff::model {

struct LoadedLinear {
  std::shared_ptr<const engine::DenseWeights> weights;
};
struct LoadedLayerNorm {
  tensor::FloatArray weight;  // [width]
  tensor::FloatArray bias;    // [width] or empty
  double epsilon = 0;
};

// One layer of config.json with its weights read and checked, before anybody
// has decided what computes it: the model makes an FFF of an fff layer, its
// dense twin two linear ones.
using LoadedLayer = std::variant<LoadedFff, LoadedLinear, LoadedLayerNorm,
                                 ActivationLayerConfig, FlattenLayerConfig>;

// "fff", "linear", ...
std::string TypeName(const LoadedLayer& layer);

// The widths a layer's weights fix; 0 and 0 where any width will do.
struct LayerWidths {
  int64_t input = 0;
  int64_t output = 0;
};
LayerWidths WidthsOf(const LoadedLayer& layer);

// Reads the weights of `layers` (empty = one fff layer, detected). Tensors that
// no layer uses are errors, unless inference is known not to need them
// (IsIgnoredTensor), they belong to a convention that config.json decided
// against, or every layer names its own prefix and they stand in another module
// than the tensors that are used. INVALID_ARGUMENT messages name file, layer
// and tensor.
absl::StatusOr<std::vector<LoadedLayer>> LoadLayers(
    absl::Span<const LayerConfig> layers,
    const checkpoint::Checkpoint& checkpoint);

}  // namespace fff::model

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"

namespace fff::importer {

// Where in config.json layers stand, for messages.
struct Names {
  std::string source;  // the checkpoint's file
  std::string key;     // "layers" or "dense_layers"
};

// The layers with their weights, repeats unrolled. Tensors that no layer uses
// are errors as import.h says; with `whole_file` wherever they stand.
absl::StatusOr<std::vector<LoadedLayer>> LoadLayers(
    absl::Span<const LayerConfig> configs,
    const checkpoint::Checkpoint& checkpoint, const Names& names,
    bool whole_file);

// What was assumed of the layers, each once with its place, in order.
std::vector<std::string> AssumedOf(absl::Span<const LoadedLayer> layers);

// The first width that a layer's weights fix, where all before leave it as it
// is; else 0.
int64_t FirstWidth(absl::Span<const LoadedLayer> layers);

}  // namespace fff::importer

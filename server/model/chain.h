#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/builder.h"
#include "server/model/loaded_layer.h"
#include "server/model/model.h"
#include "server/model/model_config.h"

namespace fff::model {

// Where in config.json the layers stand, for messages.
struct ChainNames {
  std::string source;          // the checkpoint's file
  std::string key = "layers";  // "layers" or "dense_layers"
};

// Loaded layers in sequence -> the model: widths agree from layer to layer and
// with input.shape and output.shape, labels match the output. Layers without a
// width of their own (activation, flatten) take that of their input.
// INVALID_ARGUMENT messages name the layer, got and wanted; errors of planning
// and of copying the model to a device keep their code.
absl::StatusOr<std::shared_ptr<const Model>> BuildChain(
    const EdgeConfig& input, const EdgeConfig& output,
    absl::Span<const LoadedLayer> layers, const ChainNames& names,
    const BuildOptions& options);

}  // namespace fff::model

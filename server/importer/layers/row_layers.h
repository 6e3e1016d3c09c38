#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// Layers of config.json that see one row, or one token, at a time: their fields
// and their ops, for the table in layer_types.cc. Included by .cc files of this
// folder only.
namespace fff::importer {

// torch.nn.LayerNorm.
void ReadLayerNorm(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadLayerNorm(const LayerConfig& config,
                                          TensorReader& reader);

// torch.nn.RMSNorm. "epsilon" has no default: code bases differ.
void ReadRmsNorm(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadRmsNorm(const LayerConfig& config,
                                        TensorReader& reader);

// One half of the row times the activation of the other (graph::GateProblem),
// behind a linear layer where it has a prefix.
void ReadGlu(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadGlu(const LayerConfig& config,
                                    TensorReader& reader);

// Over the last dimension.
absl::StatusOr<LoadedLayer> LoadSoftmax(const LayerConfig& config,
                                        TensorReader& reader);

// The key "activation"; with "prefix", of a linear layer.
std::optional<graph::Activation> ReadActivation(JsonFields& fields);
void ReadPrefix(JsonFields& fields, LayerConfig& config);

}  // namespace fff::importer

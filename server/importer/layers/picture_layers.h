#pragma once

#include "absl/status/statusor.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// Layers of config.json that see pictures, [channels, height, width]: their
// fields and their ops, for the table in layer_types.cc. Included by .cc files
// of this folder only.
namespace fff::importer {

void ReadConv2d(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadConv2d(const LayerConfig& config,
                                       TensorReader& reader);

void ReadPool2d(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadMaxPool2d(const LayerConfig& config,
                                          TensorReader& reader);
absl::StatusOr<LoadedLayer> LoadAvgPool2d(const LayerConfig& config,
                                          TensorReader& reader);

// Also over flat rows, an element being a channel.
void ReadBatchNorm(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadBatchNorm(const LayerConfig& config,
                                          TensorReader& reader);
void ReadNormalize(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadNormalize(const LayerConfig& config,
                                          TensorReader& reader);

// A picture as a sequence: its places as tokens of all channels; its patches;
// patches of five pictures, itself and moved by a pixel right, left, down and
// up (arXiv 2112.13492), channels one behind the other.
absl::StatusOr<LoadedLayer> LoadTokens(const LayerConfig& config,
                                       TensorReader& reader);
void ReadPatches(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadPatches(const LayerConfig& config,
                                        TensorReader& reader);
absl::StatusOr<LoadedLayer> LoadShiftedPatches(const LayerConfig& config,
                                               TensorReader& reader);

}  // namespace fff::importer

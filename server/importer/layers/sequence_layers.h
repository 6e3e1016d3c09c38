#pragma once

#include "absl/status/statusor.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// Layers of config.json that see sequences: their fields and their ops, for the
// table in layer_types.cc. A sequence is [tokens, width] where all rows have
// the same length, else a value per token. Included by .cc files of this folder
// only.
namespace fff::importer {

// A row of a table per id.
void ReadEmbedding(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadEmbedding(const LayerConfig& config,
                                          TensorReader& reader);

// A vector per position, trained or of sines (arXiv 1706.03762, 3.5), added.
void ReadPositions(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadPositions(const LayerConfig& config,
                                          TensorReader& reader);

// A trained vector in front of the sequence, of one length.
void ReadClassToken(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadClassToken(const LayerConfig& config,
                                           TensorReader& reader);

// Queries, keys and values by linear layers, graph::Attention, and a linear
// layer behind it. With "mask_value" it sees the network's mask.
void ReadAttention(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadAttention(const LayerConfig& config,
                                          TensorReader& reader);

// One vector from all tokens, or, "masked", from those that the mask names.
void ReadPool(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadPool(const LayerConfig& config,
                                     TensorReader& reader);

}  // namespace fff::importer

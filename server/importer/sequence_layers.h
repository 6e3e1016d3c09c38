#pragma once

#include "absl/status/statusor.h"
#include "server/importer/json_fields.h"
#include "server/importer/layer_config.h"
#include "server/importer/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// Layers of config.json that see sequences, [tokens, width]: their fields and
// their ops, for the table in layer_types.cc. Included by .cc files of this
// folder only.
namespace fff::importer {

// A trained vector in front of the sequence.
void ReadClassToken(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadClassToken(const LayerConfig& config,
                                           TensorReader& reader);

// A vector per position, trained or of sines (arXiv 1706.03762, 3.5), added.
void ReadPositions(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadPositions(const LayerConfig& config,
                                          TensorReader& reader);

// Queries, keys and values by linear layers, graph::Attention, and a linear
// layer behind it.
void ReadAttention(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadAttention(const LayerConfig& config,
                                          TensorReader& reader);

// One vector from all tokens.
void ReadPool(JsonFields& fields, LayerConfig& config);
absl::StatusOr<LoadedLayer> LoadPool(const LayerConfig& config,
                                     TensorReader& reader);

// Tokens and their width; INVALID_ARGUMENT where the value is no sequence.
struct Sequence {
  int64_t tokens = 0;
  int64_t width = 0;
};
absl::StatusOr<Sequence> SequenceOf(const graph::ValueType& type);

}  // namespace fff::importer

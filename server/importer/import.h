#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint.h"
#include "server/graph/graph.h"
#include "server/importer/model_config.h"

// Files to networks. What can be shared with the checkpoint's storage is.
namespace fff::importer {

// config.layers over the checkpoint's tensors. Without layers the checkpoint is
// that of a crammed BERT (networks/crammed_bert.h) or of one fff layer,
// detected. Layers without a width of their own (activation, flatten) take that
// of their input. Tensors that no layer uses are errors, unless
//   - inference is known not to need them,
//   - they belong to a convention that config.json decided against, or
//   - every layer names its own prefix, and they stand in another module than
//     the tensors that are used.
// INVALID_ARGUMENT messages name file, layer, tensor, got and wanted.
// `assumed`, where it is not null, takes a sentence for everything that changes
// answers and neither file nor config says.
absl::StatusOr<graph::Graph> Import(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint,
    std::vector<std::string>* assumed = nullptr);

// The trained dense network of dense.safetensors, checked to have the edges of
// `fff`. Without config.dense_layers it is a crammed BERT, or linear, relu,
// linear, ...: detected. `assumed` as Import's.
absl::StatusOr<graph::Graph> ImportDense(
    const ModelConfig& config, const checkpoint::Checkpoint& dense,
    const graph::Graph& fff, std::vector<std::string>* assumed = nullptr);

}  // namespace fff::importer

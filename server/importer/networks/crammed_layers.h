#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/layer_config.h"
#include "server/importer/networks/crammed_arch.h"

namespace fff::importer {

inline constexpr char kCrammedEmbedding[] =
    "encoder.embedding.word_embedding.weight";

// The layers of a crammed BERT whose tensors have the names of crammed_bert.h,
// with the head of a classifier or of a masked-language model.
// INVALID_ARGUMENT where a key of `arch` and a tensor differ, or neither says
// what must be known.
absl::StatusOr<std::vector<LayerConfig>> CrammedLayers(
    const CrammedArch& arch, const checkpoint::Checkpoint& checkpoint,
    bool classifies);

}  // namespace fff::importer

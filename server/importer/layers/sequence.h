#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/importer/json_fields.h"
#include "server/importer/layers/loaded_layer.h"
#include "server/importer/tensor_reader.h"

// What the layers that see sequences share. Included by .cc files of this
// folder only.
namespace fff::importer {

// Tokens and their width. No tokens: sequences of any length.
struct Sequence {
  int64_t tokens = 0;
  int64_t width = 0;
};

// INVALID_ARGUMENT where the value is no sequence.
absl::StatusOr<Sequence> SequenceOf(const graph::ValueType& type);

// The name of a tensor, or "".
std::string ReadName(JsonFields& fields, const char* key);

// All elements of a tensor of any rank.
absl::StatusOr<tensor::FloatArray> AllFloats(const std::string& name,
                                             TensorReader& reader);

// INVALID_ARGUMENT where a layer that needs the mask, as `key` says, has none.
absl::StatusOr<graph::ValueId> MaskOf(const LayerContext& context,
                                      absl::string_view key);

graph::Op MakeRearrange(graph::RearrangeWeights weights);

// One op whose problem follows from the sequence that reaches it:
// `make` (Sequence) -> StatusOr<Op>.
template <class Make>
LoadedLayer FromSequence(std::string type, Make make) {
  return OneOpFrom(std::move(type), SequenceOf, std::move(make));
}

}  // namespace fff::importer

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/graph/weights.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {

// The shape of a tensor of `rank` whose dimensions are widths; `wanted` names
// them in messages: "[O, I]".
absl::StatusOr<tensor::Shape> WidthsOf(const std::string& name, size_t rank,
                                       absl::string_view wanted,
                                       const TensorReader& reader);

// torch.nn.Linear: weight [O, I], bias [O] where the checkpoint has one.
absl::StatusOr<graph::DenseWeights> ReadDense(const std::string& weight,
                                              const std::string& bias,
                                              TensorReader& reader);

}  // namespace fff::importer

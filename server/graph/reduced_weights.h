#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/graph/weights.h"

// Layers whose matrices are held in bf16 or int8 (reduced_matrix.h). Rows,
// biases, sums and outputs stay fp32; routes are what the stored weights give
// in fp32 arithmetic. Pure; they allocate.
namespace fff::graph {

// `weights` of fp32 in another precision, kBf16 or kInt8; kFp32 returns them
// as they are. The leaves' first matrix is stored by neuron. INVALID_ARGUMENT
// names matrix, row, column and value where one has no finite value there.
absl::StatusOr<std::shared_ptr<const PathWeights>> Reduced(
    std::shared_ptr<const PathWeights> weights, Precision precision);
absl::StatusOr<std::shared_ptr<const LeafWeights>> Reduced(
    std::shared_ptr<const LeafWeights> weights, Precision precision);

// Reduced weights with the fp32 matrices filled in beside, holding exactly the
// values that are stored: what the oracle reads.
std::shared_ptr<const PathWeights> WithWidened(const PathWeights& weights);
std::shared_ptr<const LeafWeights> WithWidened(const LeafWeights& weights);

}  // namespace fff::graph

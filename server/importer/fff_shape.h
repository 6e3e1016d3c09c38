#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/graph/problem.h"
#include "server/importer/convention.h"
#include "server/importer/layouts/tensor_shapes.h"

// From tensor shapes to the problem they describe. Pure functions; nothing is
// read but names and shapes.
namespace fff::importer {

// What the shapes of a path-family convention say: widths, levels, trees, and
// whether there is a bias; tie and activation are the convention's. Levels come
// from the number of node rows, T * (2^L - 1); when `trees` is not given, one
// tree is assumed if the rows allow it, else the error lists the (trees,
// levels) pairs that fit. INVALID_ARGUMENT for a missing tensor, a wrong rank
// or shape, rows that are no tree, and anything above the engine's bounds.
absl::StatusOr<graph::PathProblem> PathProblemOf(const TensorShapes& tensors,
                                                 const Convention& convention,
                                                 std::optional<int64_t> trees);

// The same for the leaf family. Depth comes from the number of leaves. Node
// tensors may be absent at depth 0; b2s is wanted when the convention has an
// output bias.
absl::StatusOr<graph::LeafProblem> LeafProblemOf(const TensorShapes& tensors,
                                                 const Convention& convention,
                                                 bool output_bias);

// The width of the master leaf's hidden layer. INVALID_ARGUMENT as above.
absl::StatusOr<int64_t> MasterLeafWidthOf(const TensorShapes& tensors,
                                          const graph::LeafProblem& problem);

}  // namespace fff::importer

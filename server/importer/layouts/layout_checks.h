#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/graph/problem.h"
#include "server/importer/convention.h"
#include "server/importer/layouts/tensor_shapes.h"

// Whether shapes can be those of a layout: Layout::check. Pure functions; a
// status that is not OK is INVALID_ARGUMENT and says what does not fit. `trees`
// is config.json's.
namespace fff::importer {

// A path family layer. Of a layout of many trees, rows that are several trees
// fit also where `trees` is not given.
absl::Status CheckPath(const TensorShapes& tensors,
                       const Convention& convention,
                       std::optional<int64_t> trees);

// A leaf family layer in fastfeedforward's layout.
absl::Status CheckLeaf(const TensorShapes& tensors,
                       const Convention& convention,
                       std::optional<int64_t> trees);

// X [N, I] and Y [N, O] of any N.
absl::Status CheckDenseRows(const TensorShapes& tensors,
                            const Convention& convention,
                            std::optional<int64_t> trees);

// One row of X per level: X [d, I], Y [2^d - 1, O].
absl::Status CheckLevelRows(const TensorShapes& tensors,
                            const Convention& convention,
                            std::optional<int64_t> trees);
absl::StatusOr<graph::PathProblem> LevelRowsOf(const TensorShapes& tensors,
                                               const Convention& convention);

// X as one column [N * I, 1] of I > 1, Y [N, O].
absl::Status CheckFlatRows(const TensorShapes& tensors,
                           const Convention& convention,
                           std::optional<int64_t> trees);
absl::StatusOr<graph::PathProblem> FlatRowsOf(const TensorShapes& tensors,
                                              const Convention& convention);

// Groups of k >= 4 rows in trees of k ways, catid/cifar10deepspeed FFFFanout:
// (k^(d + 1) - 1) / 3 * k rows per tree, the division rounded down, d >= 1.
absl::Status CheckFanout(const TensorShapes& tensors,
                         const Convention& convention,
                         std::optional<int64_t> trees);

// leaf_weight [L, D, D].
absl::Status CheckSquareLeaves(const TensorShapes& tensors,
                               const Convention& convention,
                               std::optional<int64_t> trees);

}  // namespace fff::importer

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/graph/op.h"
#include "server/importer/convention.h"
#include "server/importer/layers/loaded_layer.h"

// Ops to layers of the network.
namespace fff::importer {

// The activation: config.json's, else the convention's. INVALID_ARGUMENT where
// neither says it.
absl::StatusOr<graph::Activation> ActivationOf(const LayerConfig& config,
                                               const Convention& convention);

// A layer without ops, named after its convention.
LoadedLayer FffLayer(const Convention& convention, int64_t input_width);

// A layer of one op.
LoadedLayer FffOp(const Convention& convention, int64_t input_width,
                  graph::Op op);

// Ops one after another.
using Branch = std::vector<graph::Op>;

// The sum of what branches make of the same input. A network's layer routes
// once, so every routing op after the first begins one more layer of the same
// name; each answers with routes of its own.
LoadedLayer FffBranches(const Convention& convention, int64_t input_width,
                        std::vector<Branch> branches);

// No more branches than that: each is an op per row.
inline constexpr int64_t kBranchesMax = 256;
// Elements of weights that a loader makes of fewer, 4 GiB. Files are untrusted.
inline constexpr int64_t kMadeElementsMax = int64_t{1} << 30;

// INVALID_ARGUMENT when rows * width elements would be above it.
absl::Status CheckMade(int64_t rows, int64_t width);

}  // namespace fff::importer

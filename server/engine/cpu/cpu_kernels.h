#pragma once

#include "server/engine/kernel_entry.h"

// The CPU kernels: Highway with run-time dispatch, oneDNN for dense products.
// Each entry's contract (shapes, algorithm, cost) stands in its own file.
namespace fff::engine {

PathKernelEntry PathWalk();
PathKernelEntry PathTwoPhase();
PathKernelEntry PathTiled();
PathKernelEntry PathMasked();
LeafKernelEntry LeafWalk();
LeafKernelEntry LeafGrouped();
DenseKernelEntry DenseDot();
DenseKernelEntry DenseOnednn();

}  // namespace fff::engine

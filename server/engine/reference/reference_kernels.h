#pragma once

#include "server/engine/kernel_entry.h"

// The oracle: scalar kernels that accumulate in double and decide on the
// double-precision z. Slow by intent and never picked by the selector.
namespace fff::engine {

PathKernelEntry PathReference();
LeafKernelEntry LeafReference();
DenseKernelEntry DenseReference();

}  // namespace fff::engine

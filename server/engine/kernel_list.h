#pragma once

#include "absl/types/span.h"
#include "server/engine/kernel_entry.h"

// The one list of all kernels. A kernel that is not named in kernel_list.cc
// does not exist; nothing registers itself.
namespace fff::engine {

absl::Span<const PathKernelEntry> PathKernels();
absl::Span<const LeafKernelEntry> LeafKernels();
absl::Span<const DenseKernelEntry> DenseKernels();

}  // namespace fff::engine

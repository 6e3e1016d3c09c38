#pragma once

#include "absl/types/span.h"
#include "server/engine/kernel_entry.h"

// The one list of all kernels of the CPU. A kernel that is not named in
// kernel_list.cc does not exist; nothing registers itself.
namespace fff::engine {

absl::Span<const PathKernelEntry> PathKernels();
absl::Span<const LeafKernelEntry> LeafKernels();
absl::Span<const DenseKernelEntry> DenseKernels();
absl::Span<const ActivationKernelEntry> ActivationKernels();
absl::Span<const LayerNormKernelEntry> LayerNormKernels();
absl::Span<const BlendKernelEntry> BlendKernels();

}  // namespace fff::engine

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
absl::Span<const Conv2dKernelEntry> Conv2dKernels();
absl::Span<const Pool2dKernelEntry> Pool2dKernels();
absl::Span<const ScaleKernelEntry> ScaleKernels();
absl::Span<const RearrangeKernelEntry> RearrangeKernels();
absl::Span<const AddKernelEntry> AddKernels();
absl::Span<const GateKernelEntry> GateKernels();
absl::Span<const SoftmaxKernelEntry> SoftmaxKernels();
absl::Span<const AttentionKernelEntry> AttentionKernels();
absl::Span<const PoolTokensKernelEntry> PoolTokensKernels();
absl::Span<const EmbeddingKernelEntry> EmbeddingKernels();
absl::Span<const PositionsKernelEntry> PositionsKernels();

}  // namespace fff::engine

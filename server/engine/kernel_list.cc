#include "server/engine/kernel_list.h"

namespace fff::engine {

// Each stands in the file of its name below cpu/ or reference/, with shapes,
// algorithm and cost. The references are the oracle: scalar kernels that
// accumulate in double and decide on the double-precision z, slow by intent.
PathKernelEntry PathReference();
PathKernelEntry PathWalk();
PathKernelEntry PathTwoPhase();
PathKernelEntry PathTiled();
PathKernelEntry PathMasked();
LeafKernelEntry LeafReference();
LeafKernelEntry LeafWalk();
LeafKernelEntry LeafGrouped();
DenseKernelEntry DenseReference();
DenseKernelEntry DenseDot();
DenseKernelEntry DensePanel();
DenseKernelEntry DenseOnednn();
ActivationKernelEntry ActivateRows();
LayerNormKernelEntry LayerNormRows();
BlendKernelEntry BlendRows();
Conv2dKernelEntry Conv2dOnednn();
Pool2dKernelEntry Pool2dRows();
ScaleKernelEntry ScaleRows();
RearrangeKernelEntry RearrangeRows();
AddKernelEntry AddRows();
GateKernelEntry GateRows();
SoftmaxKernelEntry SoftmaxRows();
AttentionKernelEntry AttentionBlocked();
PoolTokensKernelEntry PoolTokensRows();
EmbeddingKernelEntry EmbeddingRows();
PositionsKernelEntry PositionsRows();

absl::Span<const PathKernelEntry> PathKernels() {
  static const PathKernelEntry kKernels[] = {
      PathReference(), PathWalk(), PathTwoPhase(), PathTiled(), PathMasked(),
  };
  return kKernels;
}

absl::Span<const LeafKernelEntry> LeafKernels() {
  static const LeafKernelEntry kKernels[] = {
      LeafReference(),
      LeafWalk(),
      LeafGrouped(),
  };
  return kKernels;
}

absl::Span<const DenseKernelEntry> DenseKernels() {
  static const DenseKernelEntry kKernels[] = {
      DenseReference(),
      DenseDot(),
      DensePanel(),
      DenseOnednn(),
  };
  return kKernels;
}

absl::Span<const ActivationKernelEntry> ActivationKernels() {
  static const ActivationKernelEntry kKernels[] = {ActivateRows()};
  return kKernels;
}

absl::Span<const LayerNormKernelEntry> LayerNormKernels() {
  static const LayerNormKernelEntry kKernels[] = {LayerNormRows()};
  return kKernels;
}

absl::Span<const BlendKernelEntry> BlendKernels() {
  static const BlendKernelEntry kKernels[] = {BlendRows()};
  return kKernels;
}

absl::Span<const Conv2dKernelEntry> Conv2dKernels() {
  static const Conv2dKernelEntry kKernels[] = {Conv2dOnednn()};
  return kKernels;
}

absl::Span<const Pool2dKernelEntry> Pool2dKernels() {
  static const Pool2dKernelEntry kKernels[] = {Pool2dRows()};
  return kKernels;
}

absl::Span<const ScaleKernelEntry> ScaleKernels() {
  static const ScaleKernelEntry kKernels[] = {ScaleRows()};
  return kKernels;
}

absl::Span<const RearrangeKernelEntry> RearrangeKernels() {
  static const RearrangeKernelEntry kKernels[] = {RearrangeRows()};
  return kKernels;
}

absl::Span<const AddKernelEntry> AddKernels() {
  static const AddKernelEntry kKernels[] = {AddRows()};
  return kKernels;
}

absl::Span<const GateKernelEntry> GateKernels() {
  static const GateKernelEntry kKernels[] = {GateRows()};
  return kKernels;
}

absl::Span<const SoftmaxKernelEntry> SoftmaxKernels() {
  static const SoftmaxKernelEntry kKernels[] = {SoftmaxRows()};
  return kKernels;
}

absl::Span<const AttentionKernelEntry> AttentionKernels() {
  static const AttentionKernelEntry kKernels[] = {AttentionBlocked()};
  return kKernels;
}

absl::Span<const PoolTokensKernelEntry> PoolTokensKernels() {
  static const PoolTokensKernelEntry kKernels[] = {PoolTokensRows()};
  return kKernels;
}

absl::Span<const EmbeddingKernelEntry> EmbeddingKernels() {
  static const EmbeddingKernelEntry kKernels[] = {EmbeddingRows()};
  return kKernels;
}

absl::Span<const PositionsKernelEntry> PositionsKernels() {
  static const PositionsKernelEntry kKernels[] = {PositionsRows()};
  return kKernels;
}

}  // namespace fff::engine

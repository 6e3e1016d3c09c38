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
Conv2dKernelEntry Conv2dPatches();
Conv2dKernelEntry Conv2dOnednn();

template <>
KernelsFor<graph::FffPath> KernelsOf<graph::FffPath>() {
  static const PathKernelEntry kKernels[] = {
      PathReference(), PathWalk(), PathTwoPhase(), PathTiled(), PathMasked(),
  };
  return kKernels;
}

template <>
KernelsFor<graph::FffLeaf> KernelsOf<graph::FffLeaf>() {
  static const LeafKernelEntry kKernels[] = {
      LeafReference(),
      LeafWalk(),
      LeafGrouped(),
  };
  return kKernels;
}

template <>
KernelsFor<graph::Linear> KernelsOf<graph::Linear>() {
  static const DenseKernelEntry kKernels[] = {
      DenseReference(),
      DenseDot(),
      DensePanel(),
      DenseOnednn(),
  };
  return kKernels;
}

template <>
KernelsFor<graph::Conv2d> KernelsOf<graph::Conv2d>() {
  static const Conv2dKernelEntry kKernels[] = {
      Conv2dPatches(),
      Conv2dOnednn(),
  };
  return kKernels;
}

}  // namespace fff::engine

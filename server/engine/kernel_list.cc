#include "server/engine/kernel_list.h"

#include "server/engine/cpu/cpu_kernels.h"
#include "server/engine/reference/reference_kernels.h"

namespace fff::engine {

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
      DenseOnednn(),
  };
  return kKernels;
}

}  // namespace fff::engine

#include "server/engine/cuda/kernel_lists.h"

namespace fff::engine::cuda {

// Each in the file of its name, best guess first.
DeviceDenseKernel DenseCublaslt();

absl::Span<const DeviceDenseKernel> DenseKernels() {
  static const DeviceDenseKernel kKernels[] = {
      DenseCublaslt(),
  };
  return kKernels;
}

}  // namespace fff::engine::cuda

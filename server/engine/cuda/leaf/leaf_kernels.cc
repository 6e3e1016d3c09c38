#include "server/engine/cuda/kernel_lists.h"

namespace fff::engine::cuda {

// Each in the file of its name, best guess first.
DeviceLeafKernel LeafWalk();
DeviceLeafKernel LeafRow();
DeviceLeafKernel LeafWide();
DeviceLeafKernel LeafGrouped();
DeviceLeafKernel LeafTensor();

absl::Span<const DeviceLeafKernel> LeafKernels() {
  static const DeviceLeafKernel kKernels[] = {
      LeafWalk(), LeafRow(), LeafWide(), LeafGrouped(), LeafTensor(),
  };
  return kKernels;
}

}  // namespace fff::engine::cuda

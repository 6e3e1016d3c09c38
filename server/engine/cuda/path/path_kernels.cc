#include "server/engine/cuda/kernel_lists.h"

namespace fff::engine::cuda {

// Each in the file of its name, best guess first.
DevicePathKernel PathWalk();
DevicePathKernel PathRow();
DevicePathKernel PathGrouped();
DevicePathKernel PathTensor();
DevicePathKernel PathMasked();
DevicePathKernel PathWide();

absl::Span<const DevicePathKernel> PathKernels() {
  static const DevicePathKernel kKernels[] = {
      PathWalk(),   PathRow(),    PathGrouped(),
      PathTensor(), PathMasked(), PathWide(),
  };
  return kKernels;
}

}  // namespace fff::engine::cuda

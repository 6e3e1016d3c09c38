#include "server/engine/cuda/kernel_lists.h"

namespace fff::engine::cuda {

// In rows.cu, one per RowOp.
DeviceRowsKernel ActivateEach();
DeviceRowsKernel LayerNormEach();
DeviceRowsKernel BlendEach();

absl::Span<const DeviceRowsKernel> RowsKernels() {
  static const DeviceRowsKernel kKernels[] = {
      ActivateEach(),
      LayerNormEach(),
      BlendEach(),
  };
  return kKernels;
}

}  // namespace fff::engine::cuda

#pragma once

#include "absl/types/span.h"
#include "server/engine/device/kernel_table.h"

// The CUDA kernels, one list per family: <family>/<family>_kernels.cc. A kernel
// that is not named there does not exist; nothing registers itself.
namespace fff::engine::cuda {

absl::Span<const DevicePathKernel> PathKernels();
absl::Span<const DeviceLeafKernel> LeafKernels();
absl::Span<const DeviceDenseKernel> DenseKernels();
absl::Span<const DeviceRowsKernel> RowsKernels();

}  // namespace fff::engine::cuda

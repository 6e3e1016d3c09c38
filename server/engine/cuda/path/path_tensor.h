#pragma once

#include "absl/status/statusor.h"
#include "server/engine/cuda/path/tensor_packing.h"
#include "server/engine/device/kernel_table.h"

// path_tensor: decisions and outputs by tensor cores, for large batches of bf16
// rows. It reads copies of the weights in the order in which lanes multiply.
namespace fff::engine::cuda {

// One layer as the kernel reads it. Pointers are to device memory.
struct TensorArgs {
  const void* x_tiles = nullptr;   // bf16, TensorPacking's blocks of X
  const void* y_groups = nullptr;  // bf16, its blocks of Y
  const float* slack = nullptr;    // [nodes], its slack
  int steps = 0;
  int top_tiles = 0;
  int split = 0;
};

// TensorPacking's slack on the device, for kernels that decide by products in
// another order than WarpDot's.
absl::StatusOr<Buffer> UploadSlack(Device& device, const PathWeights& weights);

// Whether the shared memory of a block suffices; once per device, before the
// first launch there. The kernels need 157 KiB (compute capability 8.6 and 8.9
// have 99).
absl::StatusOr<bool> PreparePathTensorTop();
absl::StatusOr<bool> PreparePathTensorFinish();
// The first levels: fills the sort's scratch; top_z also keeps each row's
// length, in place kSplitMax - 1.
absl::Status PathTensorTop(const PathShape& shape, const TensorArgs& tensor,
                           const LaunchArgs& launch);
// The rest, behind PathTensorTop on the same stream.
absl::Status PathTensorFinish(const PathShape& shape, const TensorArgs& tensor,
                              const LaunchArgs& launch);

}  // namespace fff::engine::cuda

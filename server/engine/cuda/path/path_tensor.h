#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "server/engine/cuda/device_memory.h"
#include "server/engine/cuda/kernel_args.h"
#include "server/engine/cuda/path/tensor_packing.h"
#include "server/engine/weights.h"

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

// Those copies on the current device, owned.
class TensorWeights {
 public:
  // Nothing where the kernel cannot compute the layer: several trees, fewer
  // than 2 or more than kTensorLevelsMax levels, wider rows than path_walk
  // takes, numbers that bf16 has not (a zero times an infinity is no zero), or
  // a device whose blocks have less shared memory than the kernels need, 157
  // KiB (compute capability 8.6 and 8.9 have 99).
  static absl::StatusOr<std::optional<TensorWeights>> Make(
      const PathWeights& weights);

  TensorArgs args() const;
  int64_t bytes() const { return x_.size() + y_.size() + slack_.size(); }

 private:
  DeviceBuffer x_;
  DeviceBuffer y_;
  DeviceBuffer slack_;
  TensorArgs args_;
};

// Once a device, before the first launch there. cudaErrorInvalidValue: its
// blocks have too little shared memory.
cudaError_t PreparePathTensorTop();
cudaError_t PreparePathTensorFinish();
// The first levels: fills `scratch`; top_z also keeps each row's length, in
// place kSplitMax - 1.
cudaError_t PathTensorTop(const PathArgs& layer, const TensorArgs& tensor,
                          const RowArgs& rows, const SortScratch& scratch,
                          cudaStream_t stream);
// The rest, behind PathTensorTop on the same stream.
cudaError_t PathTensorFinish(const PathArgs& layer, const TensorArgs& tensor,
                             const RowArgs& rows, int processors,
                             const SortScratch& scratch, cudaStream_t stream);

}  // namespace fff::engine::cuda

#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "server/engine/cuda/device_memory.h"
#include "server/engine/cuda/kernel_args.h"
#include "server/engine/weights.h"

// path_tensor: decisions and outputs by tensor cores, for large batches of bf16
// rows. It reads copies of the weights in the order in which lanes multiply.
namespace fff::engine::cuda {

// A tree is cut below its first `split` levels into 2^split subtrees, each of
// at most kTensorBottom levels.
inline constexpr int kTensorTop = 7;
inline constexpr int kTensorBottom = 5;
inline constexpr int kTensorLevelsMax = kTensorTop + kTensorBottom;
// Weight rows are multiplied in tiles of 8, 32 numbers a step, the number of
// steps a multiple of kTensorSteps.
inline constexpr int kTensorSteps = 4;
// Outputs are summed in groups of 32 columns, for a subtree over 40 slots: the
// path to it (8), its own nodes (32).
inline constexpr int kTensorPathSlots = 8;
inline constexpr int kTensorSlots = 40;

// One layer as the kernel reads it. Pointers are to device memory.
struct TensorArgs {
  // bf16 [steps, top_tiles, lane, 8] for the top of the tree, then
  // [subtrees, steps, 4, lane, 8]: tiles of eight rows of X in heap order. Lane
  // l holds row l / 4 of the tile; word w of its 4 are the numbers 8 * w +
  // 2 * (l % 4) of the step and the next.
  const void* x_tiles = nullptr;
  // bf16 [subtrees, groups, 5, lane, 8]: rows of Y by slot. Word w of the 20 a
  // lane has in a group is of column tile w / 5 and of the eight slots from
  // 8 * (w % 5) on: slots 2 * (lane % 4) and the one behind it, column
  // 8 * (lane / 8) + 2 * (w / 5) + lane / 4 % 2 of the group.
  const void* y_groups = nullptr;
  // [nodes]: no |z| above slack[node] * |x| can have the sign of its opposite,
  // in whichever order its products are added. Infinite: any may.
  const float* slack = nullptr;
  int steps = 0;
  int top_tiles = 0;
  int split = 0;
};

// Those copies on the current device, owned.
class TensorWeights {
 public:
  // Nothing where the kernel cannot compute the layer: several trees, fewer
  // than 2 or more than kTensorLevelsMax levels, wider rows than path_walk
  // takes, numbers that bf16 has not (a zero times an infinity is no zero).
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

// Once a device, before the first launch there.
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

#pragma once

#include <cstdint>
#include <vector>

#include "server/engine/weights.h"

// The weights of a path layer in the order in which the lanes of path_tensor
// multiply them. Needs no device.
namespace fff::engine::cuda {

// A tree is cut below its first `split` levels into 2^split subtrees, each of
// at most kTensorBottom levels.
inline constexpr int kTensorTop = 7;
inline constexpr int kTensorBottom = 5;
inline constexpr int kTensorLevelsMax = kTensorTop + kTensorBottom;
// Weight rows are multiplied in tiles of 8, 32 numbers per step, the number of
// steps a multiple of kTensorSteps.
inline constexpr int kTensorSteps = 4;
// A subtree's tiles.
inline constexpr int kTensorTiles = 4;
// Outputs are summed in groups of 32 columns, for a subtree over 40 slots: the
// path to it (8), its own nodes (32).
inline constexpr int kTensorPathSlots = 8;
inline constexpr int kTensorSlots = 40;
inline constexpr int kTensorColumns = 32;
// Numbers of a block of X, a tile in one step, and of Y, a subtree's rows in
// one group.
inline constexpr int kTensorXBlock = 256;
inline constexpr int kTensorYBlock = kTensorSlots * kTensorColumns;

// `weights` of one tree with 2 to kTensorLevelsMax levels outlives the packing.
class TensorPacking {
 public:
  explicit TensorPacking(const PathWeights& weights);

  int split() const { return split_; }
  int64_t subtrees() const { return int64_t{1} << split_; }
  int64_t steps() const { return steps_; }
  int64_t top_tiles() const;
  int64_t groups() const { return groups_; }

  // [steps, top_tiles] for the top of the tree, then [subtrees, steps,
  // kTensorTiles].
  int64_t x_blocks() const;
  // [lane, 8]: lane l holds row l / 4 of the tile, in heap order of the top or
  // the subtree. Word w (two numbers) of its 4 are the numbers 8 * w + 2 * (l %
  // 4) of the step and the next. Zero where there is no such node or number.
  void FillX(int64_t block, float* to) const;

  int64_t y_blocks() const { return subtrees() * groups_; }  // in this order
  // [5, lane, 8]: of the 20 words a lane has, word w is of column tile w / 5
  // and of the eight slots from 8 * (w % 5) on. It has slots 2 * (lane % 4) and
  // the next, column 8 * (lane / 8) + 2 * (w / 5) + lane / 4 % 2 of the group.
  // Slots 0 to 7: the nodes on the path to the subtree; from 8 on its nodes in
  // heap order.
  void FillY(int64_t block, float* to) const;

 private:
  // -1: there is no such node.
  int64_t NodeOfTop(int64_t local) const;
  int64_t NodeOfSubtree(int64_t subtree, int64_t local) const;
  int64_t NodeOfSlot(int64_t subtree, int64_t slot) const;

  const PathWeights& weights_;
  int split_;
  int64_t steps_;
  int64_t groups_;
};

// [trees * nodes]: no |z| above slack[node] * |x| can have the sign of its
// opposite, in whichever of the two orders its products are added: the tensor
// cores' or WarpDot's. Infinite where any may. Rows of at most 4,096 numbers.
std::vector<float> DecisionSlack(const PathWeights& weights);

// Whether bf16 holds every number, rounded: a zero times an infinity is no
// zero.
bool FitsBf16(const tensor::FloatArray& array);

}  // namespace fff::engine::cuda

#include "server/engine/cuda/path/tensor_packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fff::engine::cuda {
namespace {

constexpr int kLanes = 32;
constexpr int kTileNodes = 8;
constexpr int kStepWidth = 32;
constexpr int kLaneNumbers = 8;
constexpr int kWordsATile = kTensorSlots / 8;

int64_t DividedUp(int64_t count, int64_t unit) {
  return (count + unit - 1) / unit;
}

}  // namespace

TensorPacking::TensorPacking(const PathWeights& weights)
    : weights_(weights),
      split_(std::max(1, weights.problem.levels - kTensorBottom)),
      steps_(kTensorSteps *
             DividedUp(weights.problem.input_width, kStepWidth * kTensorSteps)),
      groups_(DividedUp(weights.problem.output_width, kTensorColumns)) {}

int64_t TensorPacking::top_tiles() const {
  return std::max<int64_t>(1, subtrees() / kTileNodes);
}

int64_t TensorPacking::x_blocks() const {
  return steps_ * (top_tiles() + subtrees() * kTensorTiles);
}

void TensorPacking::FillX(int64_t block, float* to) const {
  const int64_t in_top = steps_ * top_tiles();
  const bool top = block < in_top;
  const int64_t tiles = top ? top_tiles() : kTensorTiles;
  const int64_t place = top ? block : block - in_top;
  const int64_t subtree = place / (steps_ * tiles);  // 0 at the top
  const int64_t begin = place / tiles % steps_ * kStepWidth;
  const int64_t width = weights_.problem.input_width;
  const int64_t count = std::min<int64_t>(kStepWidth, width - begin);
  std::fill_n(to, kTensorXBlock, 0.0F);
  for (int64_t i = 0; i < kTileNodes; ++i) {
    const int64_t local = place % tiles * kTileNodes + i;
    const int64_t node = top ? NodeOfTop(local) : NodeOfSubtree(subtree, local);
    if (node < 0) continue;
    for (int64_t k = 0; k < count; ++k) {
      const int64_t lane = i * 4 + k % 8 / 2;
      to[lane * kLaneNumbers + k / 8 * 2 + k % 2] =
          weights_.x[node * width + begin + k];
    }
  }
}

void TensorPacking::FillY(int64_t block, float* to) const {
  const int64_t subtree = block / groups_;
  const int64_t first = block % groups_ * kTensorColumns;
  const int64_t width = weights_.problem.output_width;
  for (int i = 0; i < kTensorYBlock; ++i) {
    const int lane = i / kLaneNumbers % kLanes;
    const int word = i / (kLaneNumbers * kLanes) * 4 + i % kLaneNumbers / 2;
    const int slot = 8 * (word % kWordsATile) + 2 * (lane % 4) + i % 2;
    const int64_t column =
        first + 8 * (lane / 8) + 2 * (word / kWordsATile) + lane / 4 % 2;
    const int64_t node = NodeOfSlot(subtree, slot);
    to[i] =
        node < 0 || column >= width ? 0.0F : weights_.y[node * width + column];
  }
}

// Two sums of the same K products differ by no more than
//   (e1 + e2) * sum |x_i w_i| <= (e1 + e2) |x| |w|
// (Cauchy-Schwarz). Tensor cores: K / 16 products of 16, each of which aligns
// 17 addends and cuts them off at the last bit of the largest (Fasi et al.,
// "Numerical behavior of NVIDIA tensor cores", 2021, section 3):
// e1 <= 17/16 K 2^-23. WarpDot: at most 40 additions one behind another below
// 4,096 numbers (Higham, "Accuracy and Stability", section 3.1):
// e2 <= 20 * 2^-23. Together below 2 max(K, 64) 2^-23. A hundredth more for
// the addition of the bias and the length of x, which is a float.
std::vector<float> DecisionSlack(const PathWeights& weights) {
  constexpr double kLeast = 1e-15;  // |w|^2 and |x|^2 are floats to the kernel
  constexpr double kMost = 1e15;
  const int64_t width = weights.problem.input_width;
  const double unit = 1.01 * double(std::max<int64_t>(width, 64)) * 0x1p-22;
  std::vector<float> slack;
  const int64_t nodes = weights.problem.trees * weights.problem.nodes();
  for (int64_t node = 0; node < nodes; ++node) {
    double squared = 0;
    for (int64_t i = 0; i < width; ++i) {
      const double w = double{weights.x[node * width + i]};
      squared += w * w;
    }
    const double length = std::sqrt(squared) * (1 + 0x1p-8);  // bf16 rounds
    const bool usable = length > kLeast && length < kMost;
    slack.push_back(usable ? static_cast<float>(unit * length)
                           : std::numeric_limits<float>::infinity());
  }
  return slack;
}

int64_t TensorPacking::NodeOfTop(int64_t local) const {
  return local < subtrees() - 1 ? local : -1;
}

int64_t TensorPacking::NodeOfSubtree(int64_t subtree, int64_t local) const {
  int level = 0;
  while ((int64_t{2} << level) <= local + 1) ++level;
  if (split_ + level >= weights_.problem.levels) return -1;
  const int64_t across = local + 1 - (int64_t{1} << level);
  return (int64_t{1} << (split_ + level)) - 1 + (subtree << level) + across;
}

int64_t TensorPacking::NodeOfSlot(int64_t subtree, int64_t slot) const {
  if (slot >= kTensorPathSlots) {
    return NodeOfSubtree(subtree, slot - kTensorPathSlots);
  }
  if (slot >= split_) return -1;
  return (int64_t{1} << slot) - 1 + (subtree >> (split_ - slot));
}

bool FitsBf16(const tensor::FloatArray& array) {
  constexpr float kMost = 3.3895314e38F;
  return std::all_of(array.data(), array.data() + array.size(),
                     [](float v) { return std::abs(v) <= kMost; });
}

}  // namespace fff::engine::cuda

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "server/base/status_macros.h"
#include "server/engine/cuda/path_tensor.h"

namespace fff::engine::cuda {
namespace {

constexpr int kLanes = 32;
constexpr int kTileNodes = 8;
constexpr int kStepWidth = 32;
constexpr int kGroupColumns = 32;
constexpr int kGroupVectors = 5;
constexpr int kVectorWidth = 8;
constexpr int kBottomTiles = 4;

int64_t RoundUp(int64_t count, int64_t unit) {
  return (count + unit - 1) / unit * unit;
}

// Where the nodes of one layer lie. -1: nowhere, a place that stays zero.
class Cut {
 public:
  explicit Cut(int levels)
      : levels_(levels), split_(std::max(1, levels - kTensorBottom)) {}

  int split() const { return split_; }
  int64_t subtrees() const { return int64_t{1} << split_; }
  int64_t top_tiles() const {
    return std::max<int64_t>(1, subtrees() / kTileNodes);
  }

  // Node `local` of a subtree, in heap order.
  int64_t NodeOf(int64_t subtree, int64_t local) const {
    int level = 0;
    while ((int64_t{2} << level) <= local + 1) ++level;
    if (split_ + level >= levels_) return -1;
    const int64_t across = local + 1 - (int64_t{1} << level);
    return (int64_t{1} << (split_ + level)) - 1 + (subtree << level) + across;
  }
  int64_t NodeAtTop(int64_t local) const {
    return local < subtrees() - 1 ? local : -1;
  }
  int64_t NodeOfSlot(int64_t subtree, int64_t slot) const {
    if (slot >= kTensorPathSlots)
      return NodeOf(subtree, slot - kTensorPathSlots);
    if (slot >= split_) return -1;
    return (int64_t{1} << slot) - 1 + (subtree >> (split_ - slot));
  }

 private:
  int levels_;
  int split_;
};

bool FitsBf16(const tensor::FloatArray& array) {
  constexpr float kMost = 3.3895314e38f;
  return std::all_of(array.data(), array.data() + array.size(),
                     [](float v) { return std::abs(v) <= kMost; });
}

absl::StatusOr<DeviceBuffer> UploadX(const PathWeights& weights, const Cut& cut,
                                     int64_t steps) {
  const int64_t width = weights.problem.input_width;
  std::vector<float> block(kLanes * kVectorWidth);
  const auto fill = [&](int64_t row) {
    // Top and subtrees: [step][tile].
    const int64_t in_top = steps * cut.top_tiles();
    const bool top = row < in_top;
    const int64_t tiles = top ? cut.top_tiles() : kBottomTiles;
    const int64_t place = top ? row : row - in_top;
    const int64_t part = top ? 0 : place / (steps * tiles);
    const int64_t begin = place / tiles % steps * kStepWidth;
    std::fill(block.begin(), block.end(), 0.0f);
    for (int64_t i = 0; i < kTileNodes && begin < width; ++i) {
      const int64_t local = place % tiles * kTileNodes + i;
      const int64_t node = top ? cut.NodeAtTop(local) : cut.NodeOf(part, local);
      if (node < 0) continue;
      for (int64_t k = 0; k < std::min<int64_t>(kStepWidth, width - begin);
           ++k) {
        const int64_t lane = i * 4 + k % 8 / 2;
        block[static_cast<size_t>(lane * kVectorWidth + k / 8 * 2 + k % 2)] =
            weights.x[node * width + begin + k];
      }
    }
    return static_cast<const float*>(block.data());
  };
  const int64_t tiles = cut.top_tiles() + cut.subtrees() * kBottomTiles;
  return Upload(WeightType::kBf16,
                {tiles * steps, kLanes * kVectorWidth, fill});
}

absl::StatusOr<DeviceBuffer> UploadY(const PathWeights& weights,
                                     const Cut& cut) {
  const int64_t width = weights.problem.output_width;
  const int64_t groups = RoundUp(PitchOf(width), kGroupColumns) / kGroupColumns;
  std::vector<float> group(kGroupVectors * kLanes * kVectorWidth);
  const auto fill = [&](int64_t row) {
    const int64_t subtree = row / groups;
    const int64_t first = row % groups * kGroupColumns;
    auto place = group.begin();
    for (int vector = 0; vector < kGroupVectors; ++vector) {
      for (int lane = 0; lane < kLanes; ++lane) {
        for (int i = 0; i < kVectorWidth; ++i, ++place) {
          const int word = vector * 4 + i / 2;
          const int64_t column =
              first + 8 * (lane / 8) + 2 * (word / 5) + lane / 4 % 2;
          const int64_t node =
              cut.NodeOfSlot(subtree, 8 * (word % 5) + 2 * (lane % 4) + i % 2);
          *place = node < 0 || column >= width
                       ? 0.0f
                       : weights.y[node * width + column];
        }
      }
    }
    return static_cast<const float*>(group.data());
  };
  return Upload(WeightType::kBf16,
                {cut.subtrees() * groups,
                 int64_t{kGroupVectors} * kLanes * kVectorWidth, fill});
}

// Two sums of the same K products differ by no more than
//   (e1 + e2) * sum |x_i w_i| <= (e1 + e2) |x| |w|
// (Cauchy-Schwarz). Tensor cores: K / 16 products of 16, each of which aligns
// 17 addends and cuts them off at the last bit of the largest (Fasi et al.,
// "Numerical behavior of NVIDIA tensor cores", 2021, section 3), so that
// e1 <= 17/16 K 2^-23; WarpDot: e2 <= 2^-20 below 4,096 numbers (Higham,
// "Accuracy and Stability", section 3.1, 40 additions one behind another).
// Together under K 2^-22 from 64 numbers on; below that 2^-16. Rounded up by a
// hundredth for the bias and the length of x, which are floats.
absl::StatusOr<DeviceBuffer> UploadSlack(const PathWeights& weights) {
  constexpr double kLeast = 1e-15;  // |w|^2 and |x|^2 are floats to the kernel
  constexpr double kMost = 1e15;
  const int64_t width = weights.problem.input_width;
  const int64_t nodes = weights.problem.nodes();
  std::vector<float> slack(static_cast<size_t>(nodes));
  for (int64_t node = 0; node < nodes; ++node) {
    double squared = 0;
    for (int64_t i = 0; i < width; ++i) {
      const double w = double{weights.x[node * width + i]};
      squared += w * w;
    }
    const double length = std::sqrt(squared) * (1 + 0x1p-8);  // bf16 rounds
    slack[static_cast<size_t>(node)] =
        length > kLeast && length < kMost
            ? static_cast<float>(1.01 * length *
                                 double(std::max<int64_t>(width, 64)) * 0x1p-22)
            : std::numeric_limits<float>::infinity();
  }
  return Upload(WeightType::kFp32,
                {1, nodes, [&](int64_t) { return slack.data(); }});
}

}  // namespace

absl::StatusOr<std::optional<TensorWeights>> TensorWeights::Make(
    const PathWeights& weights) {
  const PathProblem& problem = weights.problem;
  if (problem.trees != 1 || problem.levels < 2 ||
      problem.levels > kTensorLevelsMax ||
      !PathWalkSupports(WeightType::kBf16,
                        static_cast<int>(PitchOf(problem.input_width))) ||
      !FitsBf16(weights.x) || !FitsBf16(weights.y)) {
    return std::nullopt;
  }
  const Cut cut(problem.levels);
  const int64_t steps =
      RoundUp(problem.input_width, kStepWidth * kTensorSteps) / kStepWidth;
  FFF_RETURN_IF_ERROR(ToStatus(PreparePathTensorTop(), "path_tensor"));
  FFF_RETURN_IF_ERROR(ToStatus(PreparePathTensorFinish(), "path_tensor"));
  TensorWeights made;
  FFF_ASSIGN_OR_RETURN(made.x_, UploadX(weights, cut, steps));
  FFF_ASSIGN_OR_RETURN(made.y_, UploadY(weights, cut));
  FFF_ASSIGN_OR_RETURN(made.slack_, UploadSlack(weights));
  made.args_.steps = static_cast<int>(steps);
  made.args_.top_tiles = static_cast<int>(cut.top_tiles());
  made.args_.split = cut.split();
  return made;
}

TensorArgs TensorWeights::args() const {
  TensorArgs args = args_;
  args.x_tiles = x_.data();
  args.y_groups = y_.data();
  args.slack = slack_.As<const float>();
  return args;
}

}  // namespace fff::engine::cuda

#include "server/engine/cuda/path/path_tensor.h"

#include <algorithm>
#include <vector>

#include "server/base/status_macros.h"
#include "server/engine/cuda/path/path_sums.h"

namespace fff::engine::cuda {
namespace {

// Copies of the weights in the order in which lanes multiply.
struct TensorWeights : KernelState {
  int64_t bytes() const override { return x.size() + y.size() + slack.size(); }
  Buffer x;
  Buffer y;
  Buffer slack;
  TensorArgs args;
};

// `blocks` blocks of `size` numbers; fill(block, to).
template <class Fill>
absl::StatusOr<Buffer> UploadBlocks(Device& device, int64_t blocks,
                                    int64_t size, const Fill& fill) {
  std::vector<float> block(static_cast<size_t>(size));
  return Upload(device, WeightType::kBf16, {blocks, size, [&](int64_t i) {
                                              fill(i, block.data());
                                              return block.data();
                                            }});
}

bool Supports(const PathShape& shape) {
  return shape.type == WeightType::kBf16 && shape.trees == 1 &&
         shape.args.levels >= 2 && shape.args.levels <= kTensorLevelsMax &&
         WarpHoldsRow(shape);
}

std::vector<int> Variants(const PathShape&, const Ask& ask) {
  return OneIf(ask.rows >= kSortRowsMin || ask.all);
}

ScratchNeed Needs(const PathShape& shape, int64_t) {
  return {0, 1 << std::max(1, shape.args.levels - kTensorBottom), 0};
}

// Numbers that bf16 has not would turn a zero times a weight into NaN.
absl::StatusOr<std::shared_ptr<const KernelState>> Prepare(
    const PathShape&, const PathWeights& weights, Device& device) {
  if (!FitsBf16(weights.x) || !FitsBf16(weights.y)) return nullptr;
  FFF_ASSIGN_OR_RETURN(const bool top_fits, PreparePathTensorTop());
  FFF_ASSIGN_OR_RETURN(const bool finish_fits, PreparePathTensorFinish());
  if (!top_fits || !finish_fits) return nullptr;
  const TensorPacking packing(weights);
  auto made = std::make_shared<TensorWeights>();
  FFF_ASSIGN_OR_RETURN(made->x,
                       UploadBlocks(device, packing.x_blocks(), kTensorXBlock,
                                    [&packing](int64_t block, float* to) {
                                      packing.FillX(block, to);
                                    }));
  FFF_ASSIGN_OR_RETURN(made->y,
                       UploadBlocks(device, packing.y_blocks(), kTensorYBlock,
                                    [&packing](int64_t block, float* to) {
                                      packing.FillY(block, to);
                                    }));
  FFF_ASSIGN_OR_RETURN(made->slack, UploadSlack(device, weights));
  made->args = {made->x.data(),
                made->y.data(),
                made->slack.As<const float>(),
                static_cast<int>(packing.steps()),
                static_cast<int>(packing.top_tiles()),
                packing.split()};
  return made;
}

absl::Status LaunchAll(const PathShape& shape, const LaunchArgs& launch) {
  const auto& tensor = static_cast<const TensorWeights&>(*launch.state).args;
  FFF_RETURN_IF_ERROR(PathTensorTop(shape, tensor, launch));
  return PathTensorFinish(shape, tensor, launch);
}

}  // namespace

absl::StatusOr<Buffer> UploadSlack(Device& device, const PathWeights& weights) {
  const std::vector<float> slack = DecisionSlack(weights);
  return Upload(device, WeightType::kFp32,
                {1, static_cast<int64_t>(slack.size()),
                 [&slack](int64_t) { return slack.data(); }});
}

DevicePathKernel PathTensor() {
  return {"path_tensor", kAllNodesSortsRowsOwnSums,
          Supports,      Variants,
          Needs,         LaunchAll,
          Prepare};
}

}  // namespace fff::engine::cuda

#include <vector>

#include "server/base/status_macros.h"
#include "server/engine/cuda/path/path_tensor.h"

namespace fff::engine::cuda {
namespace {

// `blocks` blocks of `size` numbers; fill(block, to).
template <class Fill>
absl::StatusOr<DeviceBuffer> UploadBlocks(int64_t blocks, int64_t size,
                                          const Fill& fill) {
  std::vector<float> block(static_cast<size_t>(size));
  return Upload(WeightType::kBf16, {blocks, size, [&](int64_t i) {
                                      fill(i, block.data());
                                      return block.data();
                                    }});
}

}  // namespace

absl::StatusOr<std::optional<TensorWeights>> TensorWeights::Make(
    const PathWeights& weights) {
  const PathProblem& problem = weights.problem;
  const auto x_pitch = static_cast<int>(PitchOf(problem.input_width));
  if (problem.trees != 1 || problem.levels < 2 ||
      problem.levels > kTensorLevelsMax ||
      !PathWalkSupports(WeightType::kBf16, x_pitch) || !FitsBf16(weights.x) ||
      !FitsBf16(weights.y)) {
    return std::nullopt;
  }
  for (const cudaError_t prepared :
       {PreparePathTensorTop(), PreparePathTensorFinish()}) {
    FFF_ASSIGN_OR_RETURN(const bool fits, IsPrepared(prepared, "path_tensor"));
    if (!fits) return std::nullopt;
  }
  const TensorPacking packing(weights);
  TensorWeights made;
  FFF_ASSIGN_OR_RETURN(made.x_,
                       UploadBlocks(packing.x_blocks(), kTensorXBlock,
                                    [&packing](int64_t block, float* to) {
                                      packing.FillX(block, to);
                                    }));
  FFF_ASSIGN_OR_RETURN(made.y_,
                       UploadBlocks(packing.y_blocks(), kTensorYBlock,
                                    [&packing](int64_t block, float* to) {
                                      packing.FillY(block, to);
                                    }));
  const std::vector<float> slack = DecisionSlack(weights);
  FFF_ASSIGN_OR_RETURN(
      made.slack_,
      Upload(WeightType::kFp32, {1, static_cast<int64_t>(slack.size()),
                                 [&slack](int64_t) { return slack.data(); }}));
  made.args_.steps = static_cast<int>(packing.steps());
  made.args_.top_tiles = static_cast<int>(packing.top_tiles());
  made.args_.split = packing.split();
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

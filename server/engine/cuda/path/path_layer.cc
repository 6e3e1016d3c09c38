#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/device_layer.h"
#include "server/engine/cuda/path/path_tensor.h"

namespace fff::engine::cuda {
namespace {

// What a row's partial sums may take at most, all rows of a launch together.
constexpr int64_t kPartialsBytesMax = int64_t{32} << 20;
// Below this many rows sorting cannot pay: a block would get a handful.
constexpr int64_t kSortRowsMin = 2048;
// Above it a block a row only repeats what a warp a row does with less.
constexpr int64_t kBlockRowsMax = 2048;
constexpr int kClusterMax = 8;
// Fewer subtrees than 32 leave most of a tree to the second-level cache.
constexpr int kSplitMin = 5;

// Rows of one launch of path_masked, what they may take between its products,
// and how many rows must fit that; and from where on there is enough to share.
constexpr int64_t kMaskedRowsMax = 1024;
constexpr int kMaskedRowsTile = 64;
constexpr int64_t kMaskedBytesMax = int64_t{64} << 20;
constexpr int64_t kMaskedRowsMin = 16;
constexpr int64_t kMaskedTreesMin = 4;

class PathLayer : public DeviceLayer {
 public:
  PathLayer(const PathProblem& problem, const LayerBuild& build)
      : problem_(problem),
        type_(TypeFor(build.precision)),
        processors_(build.processors),
        cluster_(build.has_clusters ? ClusterFor(problem) : 1) {
    args_.x_pitch = static_cast<int>(PitchOf(problem.input_width));
    args_.y_pitch = static_cast<int>(PitchOf(problem.output_width));
    args_.output_width = static_cast<int>(problem.output_width);
    args_.trees = static_cast<int>(problem.trees);
    args_.levels = problem.levels;
    args_.tie_left = problem.tie == Tie::kLeft;
    args_.activation = problem.activation;
    args_.shared_bytes_max = build.shared_bytes_max;
  }

  // Copies for path_tensor are made only where it can be chosen, and left out
  // where the memory does not suffice: the others compute the layer, too.
  absl::Status UploadTensorWeights(const PathWeights& weights,
                                   const LayerBuild& build) {
    if (type_ != WeightType::kBf16) return absl::OkStatus();
    if (problem_.trees > 1) {
      const bool few =
          build.rows_max < kMaskedRowsMin || problem_.trees < kMaskedTreesMin;
      if (few && !build.named) return absl::OkStatus();
      return UnlessExhausted(PrepareMasked(weights));
    }
    if (!build.named && build.rows_max < kSortRowsMin) return absl::OkStatus();
    auto made = TensorWeights::Make(weights);
    if (!made.ok()) return UnlessExhausted(made.status());
    tensor_ = *std::move(made);
    return absl::OkStatus();
  }

  absl::Status PrepareMasked(const PathWeights& weights) {
    if (!PathMaskedSupports(args_) ||
        MaskedNeedFor(kMaskedRowsTile).bytes() > kMaskedBytesMax ||
        !FitsBf16(weights.x) || !FitsBf16(weights.y)) {
      return absl::OkStatus();
    }
    FFF_ASSIGN_OR_RETURN(const bool fits,
                         IsPrepared(PreparePathMasked(), "path_masked"));
    if (!fits) return absl::OkStatus();
    const std::vector<float> slack = DecisionSlack(weights);
    FFF_ASSIGN_OR_RETURN(slack_,
                         Upload(WeightType::kFp32,
                                {1, static_cast<int64_t>(slack.size()),
                                 [&slack](int64_t) { return slack.data(); }}));
    masks_ = true;
    return absl::OkStatus();
  }

  absl::Status UploadWeights(const PathWeights& weights) {
    const int64_t nodes = problem_.trees * problem_.nodes();
    const auto rows_of = [nodes](const tensor::FloatArray& array,
                                 int64_t width) {
      return WeightRows{nodes, width, [&array, width](int64_t row) {
                          return array.data() + row * width;
                        }};
    };
    FFF_ASSIGN_OR_RETURN(
        x_, Upload(type_, rows_of(weights.x, problem_.input_width)));
    FFF_ASSIGN_OR_RETURN(
        y_, Upload(type_, rows_of(weights.y, problem_.output_width)));
    if (problem_.has_bias) {
      FFF_ASSIGN_OR_RETURN(
          bias_, Upload(WeightType::kFp32, {1, nodes, [&](int64_t) {
                                              return weights.bias.data();
                                            }}));
    }
    args_.x_weights = x_.data();
    args_.y_weights = y_.data();
    args_.bias = bias_.As<const float>();
    return absl::OkStatus();
  }

  int64_t output_width() const override { return problem_.output_width; }
  int64_t trees() const override { return problem_.trees; }
  int decisions() const override { return problem_.levels; }
  int64_t weights_bytes() const override {
    return x_.size() + y_.size() + bias_.size() + slack_.size() +
           (tensor_ ? tensor_->bytes() : 0);
  }

  ScratchNeed Needs(int64_t rows_max) const override {
    ScratchNeed need;
    if (Sorts()) need.buckets = 1 << std::min(kSplitMax, problem_.levels - 1);
    if (tensor_) {
      need.buckets = std::max(need.buckets, 1 << tensor_->args().split);
    }
    if (problem_.trees > 1) {
      need.bytes = std::max(
          TreeBytes(), std::min(kPartialsBytesMax, rows_max * TreeBytes()));
    }
    if (masks_) {
      const auto rows = static_cast<int>(std::min(kMaskedRowsMax, rows_max));
      need.bytes = std::max(
          need.bytes, std::min(kMaskedBytesMax, MaskedNeedFor(rows).bytes()));
    }
    return need;
  }

  std::vector<Candidate> Candidates(int64_t rows, Which which) const override {
    const bool all = which == Which::kAll;
    std::vector<Candidate> found;
    if (PathWalkSupports(type_, args_.x_pitch)) {
      const int least = PathWalkPartsMin(type_, args_.trees, problem_.levels);
      for (int64_t parts = least; parts <= problem_.trees; parts *= 4) {
        if (parts > least && rows * parts * RowBytes() > kPartialsBytesMax) {
          break;
        }
        found.push_back({"path_walk", static_cast<int>(parts)});
      }
    }
    const bool few_rows =
        rows <= kBlockRowsMax && rows * TreeBytes() <= kPartialsBytesMax;
    if ((few_rows || all) && PathRowSupports(type_, args_)) {
      found.push_back({"path_row", 0});
    }
    if ((rows >= kSortRowsMin || all) && Sorts()) {
      const int most = std::min(kSplitMax, problem_.levels - 1);
      for (int split = std::min(kSplitMin, most); split <= most; ++split) {
        found.push_back({"path_grouped", split});
      }
    }
    if ((rows >= kSortRowsMin || all) && tensor_) {
      found.push_back({"path_tensor", 0});
    }
    if (masks_ &&
        ((rows >= kMaskedRowsMin && problem_.trees >= kMaskedTreesMin) ||
         all)) {
      found.push_back({"path_masked", 0});
    }
    // Another order of sums than the others', where x is not in registers.
    if (found.empty() || all) found.push_back({"path_wide", cluster_});
    return found;
  }

  absl::Status Launch(const Candidate& candidate, const RowArgs& rows,
                      const Scratch& scratch,
                      cudaStream_t stream) const override {
    if (candidate.kernel == "path_masked") {
      return LaunchMasked(rows, scratch, stream);
    }
    auto* const partials = reinterpret_cast<float*>(scratch.bytes);
    const int64_t together = RowsTogether(candidate, rows, scratch);
    for (int64_t begin = 0; begin < rows.rows; begin += together) {
      const auto count =
          static_cast<int>(std::min<int64_t>(together, rows.rows - begin));
      FFF_RETURN_IF_ERROR(
          ToStatus(LaunchPiece(candidate, Piece(rows, begin, count), partials,
                               scratch.sort, stream),
                   candidate.ToString()));
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status UnlessExhausted(const absl::Status& status) {
    return absl::IsResourceExhausted(status) ? absl::OkStatus() : status;
  }
  // Clusters pay when one block would have to read tens of KiB a level.
  static int ClusterFor(const PathProblem& problem) {
    const int64_t width = std::max(problem.input_width, problem.output_width);
    return width >= 8192 ? kClusterMax : width >= 4096 ? 2 : 1;
  }
  bool Sorts() const {
    return PathGroupedSupports(type_, args_.x_pitch, args_.trees, args_.levels);
  }
  int64_t RowBytes() const {
    return args_.y_pitch * static_cast<int64_t>(sizeof(float));
  }
  // Of one row's partial sums, one a tree.
  int64_t TreeBytes() const { return problem_.trees * RowBytes(); }

  PathMaskedNeed MaskedNeedFor(int rows) const {
    return PathMaskedNeedFor(args_, rows, processors_);
  }
  absl::Status LaunchMasked(const RowArgs& rows, const Scratch& scratch,
                            cudaStream_t stream) const {
    int together =
        static_cast<int>(std::min<int64_t>(kMaskedRowsMax, rows.rows));
    while (together > kMaskedRowsTile &&
           MaskedNeedFor(together).bytes() > scratch.size) {
      together = (together / 2 + kMaskedRowsTile - 1) / kMaskedRowsTile *
                 kMaskedRowsTile;
    }
    for (int begin = 0; begin < rows.rows; begin += together) {
      const int count = std::min(together, rows.rows - begin);
      PathMaskedNeed need = MaskedNeedFor(count);
      if (need.bytes() > scratch.size) need = MaskedNeedFor(together);
      FFF_RETURN_IF_ERROR(ToStatus(
          PathMasked(args_, slack_.As<const float>(), Piece(rows, begin, count),
                     need, scratch.bytes, stream),
          "path_masked"));
    }
    return absl::OkStatus();
  }

  // Rows whose partial sums fit the scratch.
  int64_t RowsTogether(const Candidate& candidate, const RowArgs& rows,
                       const Scratch& scratch) const {
    const bool walks = candidate.kernel == "path_walk";
    const int64_t parts = walks ? candidate.variant : problem_.trees;
    if (parts == 1) return rows.rows;
    return std::max<int64_t>(1, scratch.size / (parts * RowBytes()));
  }

  RowArgs Piece(const RowArgs& rows, int64_t begin, int count) const {
    RowArgs piece = rows;
    piece.rows = count;
    piece.x = static_cast<const char*>(rows.x) +
              begin * args_.x_pitch * BytesOf(type_);
    piece.y =
        static_cast<char*>(rows.y) + begin * args_.y_pitch * BytesOf(type_);
    piece.leaves += begin * args_.trees;
    if (piece.margins != nullptr) {
      piece.margins += begin * args_.trees * args_.levels;
    }
    return piece;
  }

  cudaError_t LaunchPiece(const Candidate& candidate, const RowArgs& rows,
                          float* partials, const SortScratch& sort,
                          cudaStream_t stream) const {
    if (candidate.kernel == "path_walk") {
      return PathWalk(type_, args_, rows, candidate.variant, partials, stream);
    }
    if (candidate.kernel == "path_grouped") {
      return PathGrouped(type_, args_, rows, candidate.variant, processors_,
                         sort, stream);
    }
    if (candidate.kernel == "path_tensor") {
      const TensorArgs tensor = tensor_->args();
      const cudaError_t top = PathTensorTop(args_, tensor, rows, sort, stream);
      if (top != cudaSuccess) return top;
      return PathTensorFinish(args_, tensor, rows, processors_, sort, stream);
    }
    if (candidate.kernel == "path_row") {
      return PathRow(type_, args_, rows, partials, stream);
    }
    return PathWide(type_, args_, rows, candidate.variant, partials, stream);
  }

  PathProblem problem_;
  WeightType type_;
  int processors_;
  int cluster_;
  PathArgs args_;
  DeviceBuffer x_;
  DeviceBuffer y_;
  DeviceBuffer bias_;
  std::optional<TensorWeights> tensor_;
  DeviceBuffer slack_;  // of path_masked, where masks_
  bool masks_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakePathLayer(
    const PathWeights& weights, const LayerBuild& build) {
  auto layer = std::make_unique<PathLayer>(weights.problem, build);
  FFF_RETURN_IF_ERROR(layer->UploadWeights(weights));
  FFF_RETURN_IF_ERROR(layer->UploadTensorWeights(weights, build));
  return layer;
}

}  // namespace fff::engine::cuda

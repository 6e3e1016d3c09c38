#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/device_layer.h"
#include "server/engine/cuda/path/tensor_packing.h"

namespace fff::engine::cuda {
namespace {

// What the hidden activations of one launch may take.
constexpr int64_t kHiddenBytesMax = int64_t{64} << 20;
constexpr int64_t kSharedRowsMin = 8;
// A cluster of blocks a row pays while there are few, and a leaf that takes one
// block long to read.
constexpr int kClusterMax = 8;
constexpr int64_t kClusterRowsMax = 256;
constexpr int64_t kClusterBytesMin = int64_t{32} << 10;
// Narrower leaves leave most of a tensor core's tile to zeros.
constexpr int kTensorWidthMin = 16;

class LeafLayer : public DeviceLayer {
 public:
  LeafLayer(const LeafProblem& problem, const LayerBuild& build)
      : problem_(problem),
        type_(TypeFor(build.precision)),
        cluster_(build.has_clusters ? kClusterMax : 1) {
    args_.x_pitch = static_cast<int>(PitchOf(problem.input_width));
    args_.y_pitch = static_cast<int>(PitchOf(problem.output_width));
    args_.leaf_width = static_cast<int>(problem.leaf_width);
    args_.output_width = static_cast<int>(problem.output_width);
    args_.depth = problem.depth;
    args_.tie_left = problem.tie == Tie::kLeft;
    args_.activation = problem.activation;
  }

  // Whether leaf_tensor serves this layer: bf16, and no weight that is not
  // finite as such, for two of three terms of an activation may be zero.
  absl::Status PrepareTensor(const LeafWeights& weights) {
    if (type_ != WeightType::kBf16 || !FitsBf16(weights.w2) ||
        !LeafTensorSupports(args_.leaf_width, args_.y_pitch, args_.depth)) {
      return absl::OkStatus();
    }
    FFF_ASSIGN_OR_RETURN(tensor_,
                         IsPrepared(PrepareLeafTensor(), "leaf_tensor"));
    return absl::OkStatus();
  }

  absl::Status UploadWeights(const LeafWeights& weights) {
    const int64_t in = problem_.input_width;
    const int64_t hidden = problem_.leaf_width;
    const int64_t out = problem_.output_width;
    const int64_t neurons = problem_.leaves() * hidden;
    FFF_ASSIGN_OR_RETURN(
        nodes_, Upload(type_, {problem_.nodes(), in, [&](int64_t row) {
                                 return weights.node_weights.data() + row * in;
                               }}));
    FFF_ASSIGN_OR_RETURN(
        w1_, Upload(type_, {neurons, in,
                            [&](int64_t row) {
                              const int64_t leaf = row / hidden;
                              return weights.w1.data() + leaf * in * hidden +
                                     row % hidden;
                            },
                            hidden}));
    FFF_ASSIGN_OR_RETURN(w2_, Upload(type_, {neurons, out, [&](int64_t row) {
                                               return weights.w2.data() +
                                                      row * out;
                                             }}));
    FFF_ASSIGN_OR_RETURN(node_biases_, UploadVector(weights.node_biases));
    FFF_ASSIGN_OR_RETURN(b1_, UploadVector(weights.b1));
    if (problem_.has_output_bias) {
      FFF_ASSIGN_OR_RETURN(
          b2_,
          Upload(WeightType::kFp32, {problem_.leaves(), out, [&](int64_t row) {
                                       return weights.b2.data() + row * out;
                                     }}));
    }
    args_.node_weights = nodes_.data();
    args_.node_biases = node_biases_.As<const float>();
    args_.w1 = w1_.data();
    args_.b1 = b1_.As<const float>();
    args_.w2 = w2_.data();
    args_.b2 = b2_.As<const float>();
    return absl::OkStatus();
  }

  int64_t output_width() const override { return problem_.output_width; }
  int64_t trees() const override { return 1; }
  int decisions() const override { return problem_.depth; }
  int64_t weights_bytes() const override {
    return nodes_.size() + node_biases_.size() + w1_.size() + b1_.size() +
           w2_.size() + b2_.size();
  }
  ScratchNeed Needs(int64_t rows_max) const override {
    ScratchNeed need;
    if (Groups()) {
      const int64_t row = std::max(HiddenBytes(false), HiddenBytes(tensor_));
      need.buckets = 1 << args_.depth;
      need.bytes = std::max(row, std::min(kHiddenBytesMax, rows_max * row));
    }
    return need;
  }

  std::vector<Candidate> Candidates(int64_t rows, Which which) const override {
    std::vector<Candidate> found;
    if (LeafWalkSupports(type_, args_.x_pitch, args_.leaf_width)) {
      found.push_back({"leaf_walk", 0});
    }
    if (LeafRowSupports(args_.leaf_width)) found.push_back({"leaf_row", 0});
    const bool large = int64_t{args_.leaf_width} *
                           (args_.x_pitch + args_.y_pitch) * BytesOf(type_) >=
                       kClusterBytesMin;
    if (LeafWideSupports(args_.leaf_width) &&
        ((large && rows <= kClusterRowsMax) || which == Which::kAll)) {
      found.push_back({"leaf_wide", cluster_});
    }
    // Below a few rows a leaf there is nothing to share.
    const bool many = rows >= kSharedRowsMin * problem_.leaves();
    if (Groups() && (many || which == Which::kAll || found.empty())) {
      found.push_back({"leaf_grouped", 0});
    }
    const bool wide = args_.leaf_width >= kTensorWidthMin;
    if (tensor_ && ((many && wide) || which == Which::kAll)) {
      for (const int columns : kLeafTensorColumns) {
        found.push_back({"leaf_tensor", columns});
      }
    }
    return found;
  }

  absl::Status Launch(const Candidate& candidate, const RowArgs& rows,
                      const Scratch& scratch,
                      cudaStream_t stream) const override {
    if (candidate.kernel == "leaf_grouped" ||
        candidate.kernel == "leaf_tensor") {
      return LaunchGrouped(candidate, rows, scratch, stream);
    }
    if (candidate.kernel == "leaf_wide") {
      return ToStatus(LeafWide(type_, args_, rows, candidate.variant, stream),
                      candidate.kernel);
    }
    return ToStatus(candidate.kernel == "leaf_walk"
                        ? LeafWalk(type_, args_, rows, stream)
                        : LeafRow(type_, args_, rows, stream),
                    candidate.kernel);
  }

 private:
  bool Groups() const {
    return LeafGroupedSupports(args_.leaf_width, args_.y_pitch, args_.depth);
  }
  // Of one row.
  int64_t HiddenBytes(bool tensor) const {
    return tensor ? LeafTensorScratchBytes(args_.leaf_width)
                  : LeafGroupedScratchBytes(args_.leaf_width);
  }

  // As many rows at a time as the scratch has room for.
  absl::Status LaunchGrouped(const Candidate& candidate, const RowArgs& rows,
                             const Scratch& scratch,
                             cudaStream_t stream) const {
    const bool tensor = candidate.kernel == "leaf_tensor";
    const int64_t row_bytes = HiddenBytes(tensor);
    if (scratch.sort.counts == nullptr || scratch.size < row_bytes) {
      return absl::InternalError(
          absl::StrCat(candidate.kernel, ": no scratch"));
    }
    const int64_t together = scratch.size / row_bytes;
    for (int64_t begin = 0; begin < rows.rows; begin += together) {
      RowArgs piece = rows;
      piece.rows =
          static_cast<int>(std::min<int64_t>(together, rows.rows - begin));
      piece.x = static_cast<const char*>(rows.x) +
                begin * args_.x_pitch * BytesOf(type_);
      piece.y =
          static_cast<char*>(rows.y) + begin * args_.y_pitch * BytesOf(type_);
      piece.leaves += begin;
      if (piece.margins != nullptr) piece.margins += begin * args_.depth;
      FFF_RETURN_IF_ERROR(
          ToStatus(tensor ? LeafTensor(args_, piece, candidate.variant,
                                       scratch.bytes, scratch.sort, stream)
                          : LeafGrouped(type_, args_, piece,
                                        reinterpret_cast<float*>(scratch.bytes),
                                        scratch.sort, stream),
                   candidate.kernel));
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<DeviceBuffer> UploadVector(
      const tensor::FloatArray& array) {
    return Upload(WeightType::kFp32,
                  {1, array.size(), [&](int64_t) { return array.data(); }});
  }

  LeafProblem problem_;
  WeightType type_;
  LeafArgs args_;
  int cluster_;
  bool tensor_ = false;
  DeviceBuffer nodes_;
  DeviceBuffer node_biases_;
  DeviceBuffer w1_;
  DeviceBuffer b1_;
  DeviceBuffer w2_;
  DeviceBuffer b2_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeLeafLayer(
    const LeafWeights& weights, const LayerBuild& build) {
  auto layer = std::make_unique<LeafLayer>(weights.problem, build);
  if (layer->Candidates(1, DeviceLayer::Which::kAll).empty()) {
    return absl::UnimplementedError(
        absl::StrCat("no CUDA kernel computes ", weights.problem.ToString()));
  }
  FFF_RETURN_IF_ERROR(layer->UploadWeights(weights));
  FFF_RETURN_IF_ERROR(layer->PrepareTensor(weights));
  return layer;
}

}  // namespace fff::engine::cuda

// The layers of few operations an element, and the master leaf, which is made
// of others.
#include <algorithm>
#include <utility>

#include "server/base/status_macros.h"
#include "server/engine/cuda/device_layer.h"

namespace fff::engine::cuda {
namespace {

RowShape ShapeOf(int rows, int64_t width) {
  return {rows, static_cast<int>(width), static_cast<int>(PitchOf(width))};
}

Candidate First(const DeviceLayer& layer, int64_t rows) {
  return layer.Candidates(rows, DeviceLayer::Which::kWorthwhile)[0];
}

class ActivationLayer : public DeviceLayer {
 public:
  ActivationLayer(Activation activation, int64_t width, WeightType type)
      : activation_(activation), width_(width), type_(type) {}
  int64_t output_width() const override { return width_; }
  int64_t weights_bytes() const override { return 0; }
  ScratchNeed Needs(int64_t) const override { return {}; }
  std::vector<Candidate> Candidates(int64_t, Which) const override {
    return {{"activate_rows", 0}};
  }
  absl::Status Launch(const Candidate&, const RowArgs& rows, const Scratch&,
                      cudaStream_t stream) const override {
    return ToStatus(ActivateRows(type_, activation_, rows.x, rows.y,
                                 ShapeOf(rows.rows, width_), stream),
                    "activate_rows");
  }

 private:
  Activation activation_;
  int64_t width_;
  WeightType type_;
};

class LayerNormLayer : public DeviceLayer {
 public:
  LayerNormLayer(const LayerNormOp& op, WeightType type, DeviceBuffer weight,
                 DeviceBuffer bias)
      : width_(op.weight.size()),
        epsilon_(static_cast<float>(op.epsilon)),
        type_(type),
        weight_(std::move(weight)),
        bias_(std::move(bias)) {}
  int64_t output_width() const override { return width_; }
  int64_t weights_bytes() const override {
    return weight_.size() + bias_.size();
  }
  ScratchNeed Needs(int64_t) const override { return {}; }
  std::vector<Candidate> Candidates(int64_t, Which) const override {
    return {{"layer_norm_rows", 0}};
  }
  absl::Status Launch(const Candidate&, const RowArgs& rows, const Scratch&,
                      cudaStream_t stream) const override {
    const LayerNormArgs norm = {weight_.As<const float>(),
                                bias_.As<const float>(), epsilon_};
    return ToStatus(LayerNormRows(type_, rows.x, rows.y, norm,
                                  ShapeOf(rows.rows, width_), stream),
                    "layer_norm_rows");
  }

 private:
  int64_t width_;
  float epsilon_;
  WeightType type_;
  DeviceBuffer weight_;
  DeviceBuffer bias_;
};

class MasterLeafLayer : public DeviceLayer {
 public:
  MasterLeafLayer(std::unique_ptr<DeviceLayer> leaf,
                  std::unique_ptr<DeviceLayer> hidden,
                  std::unique_ptr<DeviceLayer> output, float share,
                  WeightType type)
      : leaf_(std::move(leaf)),
        hidden_(std::move(hidden)),
        output_(std::move(output)),
        share_(share),
        type_(type) {}
  int64_t output_width() const override { return leaf_->output_width(); }
  int64_t trees() const override { return leaf_->trees(); }
  int decisions() const override { return leaf_->decisions(); }
  int64_t weights_bytes() const override {
    return leaf_->weights_bytes() + hidden_->weights_bytes() +
           output_->weights_bytes();
  }
  // The leaf is done with its scratch when the others begin; both intermediates
  // lie before what these need.
  ScratchNeed Needs(int64_t rows_max) const override {
    const ScratchNeed leaf = leaf_->Needs(rows_max);
    ScratchNeed need = hidden_->Needs(rows_max);
    need.bytes = std::max(need.bytes, output_->Needs(rows_max).bytes) +
                 rows_max * (RowBytes(hidden_->output_width()) +
                             RowBytes(output_width()));
    need.bytes = std::max(need.bytes, leaf.bytes);
    need.buckets = leaf.buckets;
    return need;
  }
  std::vector<Candidate> Candidates(int64_t rows, Which which) const override {
    return leaf_->Candidates(rows, which);
  }
  absl::Status Launch(const Candidate& candidate, const RowArgs& rows,
                      const Scratch& scratch,
                      cudaStream_t stream) const override {
    FFF_RETURN_IF_ERROR(leaf_->Launch(candidate, rows, scratch, stream));
    char* const hidden = scratch.bytes;
    char* const output = hidden + rows.rows * RowBytes(hidden_->output_width());
    Scratch inner = scratch;
    inner.bytes = output + rows.rows * RowBytes(output_width());
    inner.size -= inner.bytes - scratch.bytes;
    const RowArgs first = {rows.x, hidden, nullptr, nullptr, rows.rows};
    FFF_RETURN_IF_ERROR(
        hidden_->Launch(First(*hidden_, rows.rows), first, inner, stream));
    const RowArgs second = {hidden, output, nullptr, nullptr, rows.rows};
    FFF_RETURN_IF_ERROR(
        output_->Launch(First(*output_, rows.rows), second, inner, stream));
    return ToStatus(Blend(type_, rows.y, output, share_,
                          rows.rows * PitchOf(output_width()), stream),
                    "blend");
  }

 private:
  int64_t RowBytes(int64_t width) const {
    return PitchOf(width) * BytesOf(type_);
  }

  std::unique_ptr<DeviceLayer> leaf_;
  std::unique_ptr<DeviceLayer> hidden_;
  std::unique_ptr<DeviceLayer> output_;
  float share_;
  WeightType type_;
};

}  // namespace

std::string Candidate::ToString() const {
  return variant == 0 ? kernel : kernel + "/" + std::to_string(variant);
}

WeightType TypeFor(Precision precision) {
  return precision == Precision::kBf16 ? WeightType::kBf16 : WeightType::kFp32;
}

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeActivationLayer(
    const ActivationOp& op, int64_t width, const LayerBuild& build) {
  return std::make_unique<ActivationLayer>(op.activation, width,
                                           TypeFor(build.precision));
}

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeLayerNormLayer(
    const LayerNormOp& op, const LayerBuild& build) {
  const int64_t width = op.weight.size();
  FFF_ASSIGN_OR_RETURN(DeviceBuffer weight,
                       Upload(WeightType::kFp32, {1, width, [&](int64_t) {
                                                    return op.weight.data();
                                                  }}));
  DeviceBuffer bias;
  if (!op.bias.empty()) {
    FFF_ASSIGN_OR_RETURN(
        bias, Upload(WeightType::kFp32,
                     {1, width, [&](int64_t) { return op.bias.data(); }}));
  }
  return std::make_unique<LayerNormLayer>(op, TypeFor(build.precision),
                                          std::move(weight), std::move(bias));
}

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeMasterLeafLayer(
    const MasterLeafOp& op, const LayerBuild& build) {
  FFF_ASSIGN_OR_RETURN(auto leaf, MakeLeafLayer(*op.leaf, build));
  FFF_ASSIGN_OR_RETURN(auto hidden, MakeDenseLayer(*op.hidden, build));
  FFF_ASSIGN_OR_RETURN(auto output, MakeDenseLayer(*op.output, build));
  return std::make_unique<MasterLeafLayer>(std::move(leaf), std::move(hidden),
                                           std::move(output), op.share,
                                           TypeFor(build.precision));
}

}  // namespace fff::engine::cuda

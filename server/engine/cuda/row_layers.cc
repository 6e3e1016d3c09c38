// The layers of few operations an element, and the master leaf, which is made
// of others.
#include <algorithm>
#include <utility>

#include "server/base/status_macros.h"
#include "server/engine/cuda/device_layer.h"

namespace fff::engine::cuda {
namespace {

int64_t RowBytes(int64_t width) {
  return PitchOf(width) * static_cast<int64_t>(sizeof(float));
}

Candidate First(const DeviceLayer& layer, int64_t rows) {
  return layer.Candidates(rows, DeviceLayer::Which::kWorthwhile)[0];
}

class ActivationLayer : public DeviceLayer {
 public:
  ActivationLayer(Activation activation, int64_t width)
      : activation_(activation), width_(width) {}
  int64_t output_width() const override { return width_; }
  int64_t weights_bytes() const override { return 0; }
  ScratchNeed Needs(int64_t) const override { return {}; }
  std::vector<Candidate> Candidates(int64_t, Which) const override {
    return {{"activate_rows", 0}};
  }
  absl::Status Launch(const Candidate&, const RowArgs& rows, const Scratch&,
                      cudaStream_t stream) const override {
    const int64_t pitch = PitchOf(width_);
    return ToStatus(
        ActivateRows(activation_, rows.x, rows.y, rows.rows * pitch,
                     static_cast<int>(width_), static_cast<int>(pitch), stream),
        "activate_rows");
  }

 private:
  Activation activation_;
  int64_t width_;
};

class LayerNormLayer : public DeviceLayer {
 public:
  LayerNormLayer(int64_t width, double epsilon, DeviceBuffer weight,
                 DeviceBuffer bias)
      : width_(width),
        epsilon_(static_cast<float>(epsilon)),
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
    return ToStatus(LayerNormRows(rows.x, rows.y, weight_.As<const float>(),
                                  bias_.As<const float>(), epsilon_, rows.rows,
                                  static_cast<int>(width_),
                                  static_cast<int>(PitchOf(width_)), stream),
                    "layer_norm_rows");
  }

 private:
  int64_t width_;
  float epsilon_;
  DeviceBuffer weight_;
  DeviceBuffer bias_;
};

class MasterLeafLayer : public DeviceLayer {
 public:
  MasterLeafLayer(std::unique_ptr<DeviceLayer> leaf,
                  std::unique_ptr<DeviceLayer> hidden,
                  std::unique_ptr<DeviceLayer> output, float share)
      : leaf_(std::move(leaf)),
        hidden_(std::move(hidden)),
        output_(std::move(output)),
        share_(share) {}
  int64_t output_width() const override { return leaf_->output_width(); }
  int64_t trees() const override { return leaf_->trees(); }
  int decisions() const override { return leaf_->decisions(); }
  int64_t weights_bytes() const override {
    return leaf_->weights_bytes() + hidden_->weights_bytes() +
           output_->weights_bytes();
  }
  // Both intermediates lie before what the parts themselves need.
  ScratchNeed Needs(int64_t rows_max) const override {
    ScratchNeed need = hidden_->Needs(rows_max);
    need.bytes = std::max(need.bytes, output_->Needs(rows_max).bytes) +
                 rows_max * (RowBytes(hidden_->output_width()) +
                             RowBytes(output_width()));
    return need;
  }
  std::vector<Candidate> Candidates(int64_t rows, Which which) const override {
    return leaf_->Candidates(rows, which);
  }
  absl::Status Launch(const Candidate& candidate, const RowArgs& rows,
                      const Scratch& scratch,
                      cudaStream_t stream) const override {
    FFF_RETURN_IF_ERROR(leaf_->Launch(candidate, rows, scratch, stream));
    auto* const hidden = reinterpret_cast<float*>(scratch.bytes);
    float* const output = hidden + rows.rows * PitchOf(hidden_->output_width());
    float* const rest = output + rows.rows * PitchOf(output_width());
    Scratch inner = scratch;
    inner.bytes = reinterpret_cast<char*>(rest);
    inner.size -= inner.bytes - scratch.bytes;
    const RowArgs first = {rows.x, hidden, nullptr, nullptr, rows.rows};
    FFF_RETURN_IF_ERROR(
        hidden_->Launch(First(*hidden_, rows.rows), first, inner, stream));
    const RowArgs second = {hidden, output, nullptr, nullptr, rows.rows};
    FFF_RETURN_IF_ERROR(
        output_->Launch(First(*output_, rows.rows), second, inner, stream));
    return ToStatus(Blend(rows.y, output, share_,
                          rows.rows * PitchOf(output_width()), stream),
                    "blend");
  }

 private:
  std::unique_ptr<DeviceLayer> leaf_;
  std::unique_ptr<DeviceLayer> hidden_;
  std::unique_ptr<DeviceLayer> output_;
  float share_;
};

}  // namespace

std::string Candidate::ToString() const {
  return variant == 0 ? kernel : kernel + "/" + std::to_string(variant);
}

WeightType TypeFor(Precision precision) {
  return precision == Precision::kBf16 ? WeightType::kBf16 : WeightType::kFp32;
}

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeActivationLayer(
    const ActivationOp& op, int64_t width) {
  return std::make_unique<ActivationLayer>(op.activation, width);
}

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeLayerNormLayer(
    const LayerNormOp& op) {
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
  return std::make_unique<LayerNormLayer>(width, op.epsilon, std::move(weight),
                                          std::move(bias));
}

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeMasterLeafLayer(
    const MasterLeafOp& op, const LayerBuild& build) {
  FFF_ASSIGN_OR_RETURN(auto leaf, MakeLeafLayer(*op.leaf, build));
  FFF_ASSIGN_OR_RETURN(auto hidden, MakeDenseLayer(*op.hidden, build));
  FFF_ASSIGN_OR_RETURN(auto output, MakeDenseLayer(*op.output, build));
  return std::make_unique<MasterLeafLayer>(std::move(leaf), std::move(hidden),
                                           std::move(output), op.share);
}

}  // namespace fff::engine::cuda

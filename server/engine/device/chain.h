#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/device/layer.h"
#include "server/engine/device_engine.h"
#include "server/engine/kernel_tuner.h"

namespace fff::engine {

// The layers of a program on one device, with a choice of kernels. Immutable
// once tuned; its lanes share it.
class Chain {
 public:
  // Copies all weights to the device, which the thread must use; every layer
  // gets its first candidate, or `kernel_name` (INVALID_ARGUMENT when a layer
  // has no such kernel).
  static absl::StatusOr<std::unique_ptr<Chain>> Make(
      const DeviceChain& chain, const DeviceOptions& options, Device& device);

  Device& device() const { return device_; }
  size_t size() const { return layers_.size(); }
  const DeviceLayer& layer(size_t i) const { return *layers_[i]; }
  int64_t input_width() const { return input_width_; }
  int64_t output_width() const;
  int64_t rows_max() const { return build_.rows_max; }  // of a lane
  WeightType type() const { return build_.type; }       // of weights and rows
  int64_t weights_bytes() const;
  ScratchNeed needs() const;
  // Elements per row of the widest intermediate; 0 with fewer than two layers.
  int64_t between_pitch() const;

  // What may compute layer i at `rows` rows: what is worth while, or whatever
  // is called kernel_name.
  std::vector<Candidate> Candidates(size_t i, int64_t rows) const;
  void Choose(std::vector<Choices> choices);  // of all layers
  const Candidate& ChosenFor(size_t i, int64_t rows) const {
    return ChoiceFor(choices_[i], rows).candidate;
  }

 private:
  Chain(int64_t input_width, Device& device)
      : input_width_(input_width), device_(device) {}
  absl::Status UploadLayers();
  bool RoutesBehind(size_t i) const;  // in a layer after layer i

  int64_t input_width_;
  Device& device_;
  LayerBuild build_;
  std::vector<std::unique_ptr<DeviceLayer>> layers_;
  std::vector<Choices> choices_;
};

}  // namespace fff::engine

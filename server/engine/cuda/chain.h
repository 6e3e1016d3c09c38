#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/cuda/device_layer.h"
#include "server/engine/device_engine.h"

namespace fff::engine::cuda {

// Which candidate computes a layer from `rows_min` rows on.
struct Choice {
  int64_t rows_min = 1;
  Candidate candidate;
};

// The layers of a program on one device, with a choice of kernels. Immutable
// once tuned; its lanes share it.
class Chain {
 public:
  // Copies all weights to the current device; every layer gets its first
  // candidate, or `kernel_name` (INVALID_ARGUMENT when no layer has such a
  // kernel).
  static absl::StatusOr<std::unique_ptr<Chain>> Make(
      const DeviceChain& chain, const DeviceOptions& options, int64_t rows_max);

  size_t size() const { return layers_.size(); }
  const DeviceLayer& layer(size_t i) const { return *layers_[i]; }
  int64_t input_width() const { return input_width_; }
  int64_t output_width() const;
  int64_t rows_max() const { return rows_max_; }
  WeightType type() const { return type_; }  // of weights and rows
  int64_t weights_bytes() const;
  ScratchNeed needs() const;
  // Elements a row of the widest intermediate; 0 with fewer than two layers.
  int64_t between_pitch() const;

  // What may compute layer i at `rows` rows: what is worthwhile, or whatever is
  // called kernel_name.
  std::vector<Candidate> Candidates(size_t i, int64_t rows) const;
  void Choose(size_t i, std::vector<Choice> choices);
  const Candidate& ChosenFor(size_t i, int64_t rows) const;

 private:
  Chain() = default;
  bool RoutesBehind(size_t i) const;  // in a layer after layer i

  int64_t input_width_ = 0;
  int64_t rows_max_ = 0;
  WeightType type_ = WeightType::kFp32;
  std::string kernel_name_;
  std::vector<std::unique_ptr<DeviceLayer>> layers_;
  std::vector<std::vector<Choice>> choices_;
};

}  // namespace fff::engine::cuda

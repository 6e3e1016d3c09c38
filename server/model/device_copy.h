#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/device_engine.h"
#include "server/engine/kernel_plan.h"
#include "server/model/placement.h"

namespace fff::model {

// A model's other way to run: the whole chain on a device. Thread-safe.
class DeviceCopy {
 public:
  // op_of_layer: for every layer of the model the op that computes it, or -1
  // for a layer that leaves rows as they are.
  DeviceCopy(std::unique_ptr<engine::DeviceProgram> program,
             std::vector<int> op_of_layer, const Placement& placement);

  // From this many rows on the device is used.
  int64_t rows_min() const { return rows_min_; }
  void set_rows_min(int64_t rows) { rows_min_ = rows; }  // while building
  const std::string& device() const { return device_; }
  int64_t device_bytes() const { return program_->device_bytes(); }
  absl::Status health() const { return program_->health(); }
  // Kernels of one layer, named "cuda:0 path_walk"; empty for a layer without.
  std::vector<engine::KernelPlan::Step> steps(size_t layer) const;

  // Contract as engine::DeviceProgram::Run, with one sink a layer or none. The
  // first failure is logged and told.
  absl::Status Run(tensor::ConstRows x, tensor::MutableRows y,
                   absl::Span<const engine::RouteSink> routes) const;

 private:
  std::unique_ptr<engine::DeviceProgram> program_;
  std::vector<int> op_of_layer_;
  std::string device_;
  std::function<void(const absl::Status&)> on_failure_;
  int64_t rows_min_ = 1;
  mutable std::atomic<bool> told_{false};
};

}  // namespace fff::model

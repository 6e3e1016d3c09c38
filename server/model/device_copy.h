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

// A model's other way to run: its graph on a device. Thread-safe.
class DeviceCopy {
 public:
  DeviceCopy(std::unique_ptr<engine::DeviceProgram> program,
             const Placement& placement);

  // From this many rows on the device is used.
  int64_t rows_min() const { return rows_min_; }
  void set_rows_min(int64_t rows) { rows_min_ = rows; }  // while building
  const std::string& device() const { return device_; }
  int64_t device_bytes() const { return program_->device_bytes(); }
  absl::Status health() const { return program_->health(); }
  // Kernels of one node, named "cuda:0 path_walk".
  std::vector<engine::KernelPlan::Step> steps(size_t node) const;

  // Contract as engine::DeviceProgram::Run. The first failure is logged and
  // told.
  absl::Status Run(const engine::Batch& batch,
                   engine::ExecutionContext& context) const;

 private:
  std::unique_ptr<engine::DeviceProgram> program_;
  std::string device_;
  std::function<void(const absl::Status&)> on_failure_;
  int64_t rows_min_ = 1;
  mutable std::atomic<bool> told_{false};
};

}  // namespace fff::model

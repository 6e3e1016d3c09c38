#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/device_engine.h"

namespace fff::model {

// Where models may run besides the CPU.
struct Placement {
  std::shared_ptr<const engine::DeviceEngine> engine;  // null: the CPU alone
  std::vector<int> devices = {0};  // of the engine; a copy of the model each
  // kAlways: every batch. A model that does not fit is an error. kMeasured:
  // batches from the size on at which the device was faster when the model was
  // built. A model that the device cannot take stays on the CPU.
  enum class Use { kAlways, kMeasured };
  Use use = Use::kMeasured;
  graph::Precision precision = graph::Precision::kFp32;
  // Called when a device fails for good, with its message, on the thread that
  // met the failure and once per model.
  std::function<void(const absl::Status&)> on_failure =
      [](const absl::Status&) {};
};

// "cuda:0" or "cuda:0,1".
std::string DeviceName(const Placement& placement);

}  // namespace fff::model

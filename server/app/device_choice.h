#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/placement.h"

namespace fff::app {

// The numbers in "cuda:0,2"; {0} for "cuda" and "auto".
std::vector<int> DeviceNumbers(const std::string& device);

// Where models may run, from --device. "cpu": the CPU alone. "auto": a CUDA
// device too, when the engine opens; otherwise one log line says why not.
// "cuda[:n,...]": on those devices, FAILED_PRECONDITION when the engine does
// not open or has no such device.
absl::StatusOr<model::Placement> ChoosePlacement(const std::string& device);

}  // namespace fff::app

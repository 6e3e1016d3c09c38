#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "server/engine/executable.h"
#include "server/graph/graph.h"
#include "server/model/device_copy.h"
#include "server/model/placement.h"

namespace fff::model {

// Puts `graph` (fp32) on the placement's devices and chooses kernels. For
// kMeasured it also chooses the batch size from which the device is used,
// against `cpu`. Null when the placement has no engine or an op has no device
// kernel. For kMeasured also when the device cannot take the graph or is faster
// at no batch size; the log says which.
// Errors as engine::DeviceEngine::Build.
absl::StatusOr<std::unique_ptr<DeviceCopy>> CopyToDevice(
    const graph::Graph& graph, const engine::Executable& cpu,
    const Placement& placement);

}  // namespace fff::model

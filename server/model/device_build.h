#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/device_engine.h"
#include "server/model/device_copy.h"
#include "server/model/model.h"
#include "server/model/placement.h"

namespace fff::model {

// What the builder gives to a device for each layer, in order; empty where the
// layer leaves rows as they are.
using LayerOps = std::vector<std::vector<engine::DeviceOp>>;

// Copies `model`'s chain to the placement's devices, chooses kernels and, for
// kMeasured, the batch size from which the device is used. Null when the
// placement has no engine, and for kMeasured also when the device cannot take
// the model or is faster at no batch size (the log says which). Errors as
// engine::DeviceEngine::Build.
absl::StatusOr<std::unique_ptr<DeviceCopy>> CopyToDevice(
    const Model& model, const LayerOps& ops, const Placement& placement);

// Rows out of `sample` random ones that take another way through any layer on
// the model's device than on the CPU; 0 without a device. Runs both.
int64_t RoutesChanged(const Model& model, int64_t sample);

}  // namespace fff::model

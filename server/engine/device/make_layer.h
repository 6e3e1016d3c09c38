#pragma once

#include <memory>

#include "server/engine/device/layer.h"
#include "server/graph/op.h"

namespace fff::engine {

// The one place that knows the kinds of ops. The layer keeps the op's weights
// until they are uploaded, and `device` outlives it. Null for an op that is not
// graph::OnDevices.
std::unique_ptr<DeviceLayer> MakeLayer(const graph::Op& op, Device& device);

}  // namespace fff::engine

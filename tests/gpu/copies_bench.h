#pragma once

#include <memory>

#include "server/engine/device/host_copies.h"
#include "tests/unit/engine/device_chain.h"

namespace fff::gpu {

// As the engine chooses its threads; ends the process without memory for that.
std::unique_ptr<engine::HostCopies> MeasuredCopies(engine::Device& device);

// Prints the wall time of one chain from the caller's memory and back, over
// threads that copy, lanes of a batch and rows of a piece.
void MeasureCopies(engine::Device& device, const engine::DeviceChain& chain);

}  // namespace fff::gpu

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/engine/device_engine.h"

namespace fff::engine {

// Whether this machine has the driver's library (libcuda.so.1), which is loaded
// then. Without one, opening the CUDA engine costs 0.4 s of a start in vain.
bool CudaDriverPresent();

// Opens the CUDA engine: libfff_engine_cuda.so from `path`, or, when that is
// empty, from the environment variable FFF_CUDA_ENGINE, from beside the
// executable, from ../lib/fff beside it, or from where the loader looks. The
// library stays open for the life of the process when it finds a device, and
// when a driver is loaded; else it is closed again. Blocks while the driver
// starts (about a second with a device). NOT_FOUND when there is no such
// library or it cannot be loaded; UNAVAILABLE when it finds no usable driver or
// device. The message is one line.
absl::StatusOr<std::shared_ptr<const DeviceEngine>> OpenCudaEngine(
    const std::string& path = "");

}  // namespace fff::engine

#pragma once

// The one door of libfff_engine_cuda.so. Both sides are built from one tree;
// the tag makes sure of it.
namespace fff::engine {
class DeviceEngine;
}

namespace fff::engine::cuda {

// Changes whenever device_engine.h does.
inline constexpr char kEngineTag[] = "fff-device-engine-4";
inline constexpr char kOpenFunction[] = "FffOpenCudaEngine";

// Returns an engine that the caller owns (delete), or null and a reason in
// `error` (at most error_size bytes, always ended): another tag, no driver, no
// device.
using OpenFunction = DeviceEngine* (*)(const char* tag, char* error,
                                       int error_size);

}  // namespace fff::engine::cuda

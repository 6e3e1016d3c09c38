#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <initializer_list>
#include <type_traits>

#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/device/kernel_table.h"

// What the launches of all kernels share; host code.
namespace fff::engine::cuda {

// OK for cudaSuccess; RESOURCE_EXHAUSTED for a lack of memory, INTERNAL for the
// rest. The message: "CUDA: <doing>: <name of the error>: <its text>".
absl::Status ToStatus(cudaError_t error, absl::string_view doing);
// The same for the launches just queued.
absl::Status Launched();
// Allows the launches of kernels on the current device their dynamic shared
// memory. False where blocks cannot have as much, and others must serve.
struct SharedNeed {
  template <class Kernel>
  SharedNeed(Kernel* function, int needed)
      : kernel(reinterpret_cast<const void*>(function)), bytes(needed) {}
  const void* kernel;
  int bytes;
};
absl::StatusOr<bool> AllowShared(std::initializer_list<SharedNeed> needs);

inline cudaStream_t StreamOf(const LaunchArgs& launch) {
  return static_cast<cudaStream_t>(launch.stream);
}

// Blocks of `each` for `count`.
inline unsigned BlocksFor(int64_t count, int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}
inline constexpr int kGridMax = 65535;  // blocks of a grid's second dimension

// Launches by start(W()) for the type of a layer's elements.
template <class Start>
absl::Status ByType(WeightType type, const Start& start) {
  return ToStatus(
      type == WeightType::kFp32 ? start(float()) : start(__nv_bfloat16()),
      "launching");
}

// Vectors of 16 bytes that each lane of a warp holds of a row.
template <class W>
int ChunksOf(int pitch) {
  constexpr int kStep = 32 * 16 / static_cast<int>(sizeof(W));
  return (pitch + kStep - 1) / kStep;
}
// start(std::integral_constant) for the first number that is no less.
template <int kFirst, int... kRest, class Start>
cudaError_t ByChunks(int chunks, const Start& start) {
  if (chunks <= kFirst) return start(std::integral_constant<int, kFirst>());
  if constexpr (sizeof...(kRest) > 0) {
    return ByChunks<kRest...>(chunks, start);
  } else {
    return cudaErrorInvalidValue;
  }
}

}  // namespace fff::engine::cuda

#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/cuda/kernel_args.h"

// Memory of the current device and of the host side of its copies, freed by
// their owner; and CUDA's errors as Status.
namespace fff::engine::cuda {

// OK for cudaSuccess; RESOURCE_EXHAUSTED for a lack of memory, INTERNAL for the
// rest. The message: "CUDA: <doing>: <name of the error>: <its text>".
absl::Status ToStatus(cudaError_t error, absl::string_view doing);

// Whether a kernel's preparation on the current device succeeded: false where
// its blocks need more shared memory than there is, and others must serve.
absl::StatusOr<bool> IsPrepared(cudaError_t prepared, absl::string_view kernel);

// Makes a device current for this thread until the end of the scope.
class UseDevice {
 public:
  explicit UseDevice(int device);
  ~UseDevice();
  UseDevice(const UseDevice&) = delete;
  UseDevice& operator=(const UseDevice&) = delete;

 private:
  int before_ = 0;
};

// A block of memory on the device that was current when it was made. Empty by
// default; movable.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Zeroed. RESOURCE_EXHAUSTED says what was wanted and what is free.
  static absl::StatusOr<DeviceBuffer> Make(int64_t bytes);

  void* data() const { return data_.get(); }
  template <class T>
  T* As() const {
    return static_cast<T*>(data_.get());
  }
  int64_t size() const { return size_; }

 private:
  std::shared_ptr<void> data_;
  int64_t size_ = 0;
};

// Page-locked host memory, which the device copies from and to by itself.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  static absl::StatusOr<PinnedBuffer> Make(int64_t bytes);  // zeroed

  char* data() const { return static_cast<char*>(data_.get()); }

 private:
  std::shared_ptr<void> data_;
};

// `count` floats as elements of `type`, to the nearest, and back.
void NarrowRow(WeightType type, const float* from, int64_t count, void* to);
void WidenRow(WeightType type, const void* from, int64_t count, float* to);

// A matrix of weights on the device: `rows` rows of `width` numbers in rows of
// PitchOf(width) elements of `type`, the rest zero. `row(r)` gives the numbers
// of row r, `stride` apart.
struct WeightRows {
  int64_t rows = 0;
  int64_t width = 0;
  std::function<const float*(int64_t row)> row;
  int64_t stride = 1;
};
absl::StatusOr<DeviceBuffer> Upload(WeightType type, const WeightRows& weights);

}  // namespace fff::engine::cuda

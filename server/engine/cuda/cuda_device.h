#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/device/device.h"
#include "server/engine/device_engine.h"

namespace fff::engine::cuda {

// One GPU, by the CUDA runtime.
class CudaDevice : public Device {
 public:
  // All devices that the driver shows, by their numbers; may be none.
  static absl::StatusOr<std::vector<std::unique_ptr<CudaDevice>>> FindAll();

  const DeviceFacts& facts() const { return facts_; }
  // A cuBLASLt handle, made by `make` when nobody holds one.
  absl::StatusOr<std::shared_ptr<void>> SharedMatmul(
      absl::StatusOr<std::shared_ptr<void>> (*make)());

  absl::string_view kind() const override { return "cuda"; }
  const DeviceTraits& traits() const override { return traits_; }
  const KernelTable& kernels() const override;
  absl::StatusOr<std::shared_ptr<void>> Allocate(int64_t bytes) override;
  absl::StatusOr<std::shared_ptr<void>> AllocateHost(int64_t bytes) override;
  absl::Status CopyIn(void* device, const void* host, int64_t bytes) override;
  absl::StatusOr<std::unique_ptr<Stream>> MakeStream() override;
  absl::Status LastingError() const override;
  double NowSeconds() const override;
  int Enter() override;
  void Leave(int before) override;

 private:
  CudaDevice(int index, const cudaDeviceProp& properties);

  DeviceFacts facts_;
  DeviceTraits traits_;
  absl::Mutex mutex_;
  std::weak_ptr<void> matmul_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::engine::cuda

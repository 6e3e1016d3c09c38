#include "server/engine/cuda/engine_object.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/device_memory.h"
#include "server/engine/cuda/program.h"
#include "server/engine/device_engine.h"

namespace fff::engine::cuda {
namespace {

std::string VersionText(int version) {  // 13000 -> 13.0
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

// The best of a few copies between two halves of a gigabyte.
absl::StatusOr<double> CopyRate() {
  constexpr int64_t kBytes = int64_t{512} << 20;
  FFF_ASSIGN_OR_RETURN(const DeviceBuffer buffer,
                       DeviceBuffer::Make(2 * kBytes));
  cudaEvent_t start = nullptr;
  cudaEvent_t end = nullptr;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  double rate = 0;
  for (int i = 0; i < 5; ++i) {
    cudaEventRecord(start);
    cudaMemcpyAsync(buffer.As<char>() + kBytes, buffer.data(), kBytes,
                    cudaMemcpyDeviceToDevice);
    cudaEventRecord(end);
    cudaEventSynchronize(end);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, start, end);
    rate = std::max(rate,
                    2e3 * static_cast<double>(kBytes) / double{milliseconds});
  }
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  FFF_RETURN_IF_ERROR(ToStatus(cudaGetLastError(), "measuring a copy"));
  return rate;
}

class CudaEngine : public DeviceEngine {
 public:
  explicit CudaEngine(std::vector<DeviceFacts> devices)
      : devices_(std::move(devices)) {}

  const std::vector<DeviceFacts>& devices() const override { return devices_; }

  std::string Describe() const override {
    int driver = 0;
    int runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    return absl::StrCat("CUDA ", VersionText(runtime), ", driver for ",
                        VersionText(driver));
  }

  absl::StatusOr<std::unique_ptr<DeviceProgram>> Build(
      const DeviceChain& chain, const DeviceOptions& options) const override {
    for (const int device : options.devices) {
      if (device < 0 || device >= static_cast<int>(devices_.size())) {
        return absl::InvalidArgumentError(
            absl::StrCat("no device cuda:", device, "; there are ",
                         devices_.size(), ", numbered from 0"));
      }
    }
    return Program::Make(chain, options);
  }

  absl::StatusOr<double> MeasureCopyRate(int device) const override {
    const UseDevice use(device);
    return CopyRate();
  }

 private:
  std::vector<DeviceFacts> devices_;
};

absl::StatusOr<std::vector<DeviceFacts>> FindDevices() {
  int count = 0;
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaGetDeviceCount(&count), "looking for devices"));
  std::vector<DeviceFacts> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    FFF_RETURN_IF_ERROR(
        ToStatus(cudaGetDeviceProperties(&properties, i), "properties"));
    DeviceFacts facts;
    facts.index = i;
    facts.name = properties.name;
    facts.architecture =
        absl::StrCat("sm_", properties.major, properties.minor);
    facts.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
    facts.processors = properties.multiProcessorCount;
    devices.push_back(std::move(facts));
  }
  return devices;
}

DeviceEngine* Open(const char* tag, std::string& error) {
  if (std::strcmp(tag, kEngineTag) != 0) {
    error = absl::StrCat("built for \"", kEngineTag, "\", wanted \"", tag,
                         "\": server and engine object are of two builds");
    return nullptr;
  }
  absl::StatusOr<std::vector<DeviceFacts>> devices = FindDevices();
  if (!devices.ok()) {
    error = std::string(devices.status().message());
    return nullptr;
  }
  if (devices->empty()) {
    error = "CUDA: no device";
    return nullptr;
  }
  return std::make_unique<CudaEngine>(*std::move(devices)).release();
}

}  // namespace
}  // namespace fff::engine::cuda

extern "C" __attribute__((visibility("default"))) fff::engine::DeviceEngine*
FffOpenCudaEngine(const char* tag, char* error, int error_size) {
  std::string reason;
  fff::engine::DeviceEngine* engine = fff::engine::cuda::Open(tag, reason);
  std::snprintf(error, static_cast<size_t>(error_size), "%s", reason.c_str());
  return engine;
}

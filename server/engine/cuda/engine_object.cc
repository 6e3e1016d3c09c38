#include "server/engine/cuda/engine_object.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/cpu_info.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/cuda_device.h"
#include "server/engine/device/host_copies.h"
#include "server/engine/device/program.h"
#include "server/engine/device_engine.h"

namespace fff::engine::cuda {
namespace {

std::string VersionText(int version) {  // 13000 -> 13.0
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

class CudaEngine : public DeviceEngine {
 public:
  explicit CudaEngine(std::vector<std::unique_ptr<CudaDevice>> devices)
      : devices_(std::move(devices)) {
    for (const auto& device : devices_) facts_.push_back(device->facts());
  }

  const std::vector<DeviceFacts>& devices() const override { return facts_; }

  std::string Describe() const override {
    int driver = 0;
    int runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    return absl::StrCat("CUDA ", VersionText(runtime), ", driver for ",
                        VersionText(driver));
  }

  absl::StatusOr<std::unique_ptr<DeviceProgram>> Build(
      const graph::Graph& graph, const DeviceOptions& options) const override {
    std::vector<Device*> devices;
    for (const auto& device : devices_) devices.push_back(device.get());
    FFF_ASSIGN_OR_RETURN(HostCopies* const copies, Copies());
    return Program::Make(graph, options, devices, *copies);
  }

 private:
  // Shared by all programs; measured when the first one is built. Half of the
  // processors at most: the others take requests meanwhile.
  absl::StatusOr<HostCopies*> Copies() const {
    absl::MutexLock lock(&mutex_);
    if (copies_ == nullptr) {
      const UseDevice use(*devices_[0]);
      FFF_ASSIGN_OR_RETURN(
          copies_,
          HostCopies::Measured(*devices_[0], (base::AvailableCpus() + 1) / 2));
    }
    return copies_.get();
  }

  std::vector<std::unique_ptr<CudaDevice>> devices_;
  std::vector<DeviceFacts> facts_;
  mutable absl::Mutex mutex_;
  mutable std::unique_ptr<HostCopies> copies_ ABSL_GUARDED_BY(mutex_);
};

DeviceEngine* Open(const char* tag, std::string& error) {
  if (std::strcmp(tag, kEngineTag) != 0) {
    error = absl::StrCat("built for \"", kEngineTag, "\", wanted \"", tag,
                         "\": server and engine object are of two builds");
    return nullptr;
  }
  auto devices = CudaDevice::FindAll();
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

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/cuda_library.h"
#include "server/engine/device_engine.h"
#include "server/engine/kernel.h"
#include "tests/unit/engine/device_chain.h"

namespace fff::gpu {

// The CUDA engine, null where there is no device.
inline const engine::DeviceEngine* Engine() {
  static const auto engine = engine::OpenCudaEngine();
  if (!engine.ok()) return nullptr;
  return engine->get();
}

// Blocks of these have 99 KiB of shared memory; path_tensor needs more.
inline bool LacksSharedMemory() {
  const std::string& name = Engine()->devices()[0].architecture;
  return name == "sm_86" || name == "sm_89" || name == "sm_120" ||
         name == "sm_121";
}

// A chain of one layer on a device, seen as a kernel, so that the parity
// checks of the CPU serve. The first error is kept in status().
class DeviceKernel : public engine::Kernel {
 public:
  explicit DeviceKernel(std::unique_ptr<engine::DeviceProgram> program)
      : program_(std::move(program)) {}
  absl::string_view name() const override { return "device"; }
  void RunOn(engine::KernelInputs in, tensor::MutableRows y,
             const engine::RouteSink& routes,
             engine::ExecutionContext&) const override {
    status_.Update(
        engine::RunProgram(*program_, in[0].floats(), y, {&routes, 1}));
  }
  const absl::Status& status() const { return status_; }
  const engine::DeviceProgram& program() const { return *program_; }

 private:
  std::unique_ptr<engine::DeviceProgram> program_;
  mutable absl::Status status_;
};

template <class Weights>
absl::StatusOr<std::unique_ptr<DeviceKernel>> MakeDeviceKernel(
    const engine::DeviceEngine& engine, std::shared_ptr<const Weights> weights,
    const engine::DeviceOptions& options) {
  engine::DeviceChain chain;
  chain.input_width = weights->problem.input_width;
  chain.ops = {std::move(weights)};
  auto program = engine.Build(engine::GraphOf(chain), options);
  if (!program.ok()) return program.status();
  return std::make_unique<DeviceKernel>(*std::move(program));
}

}  // namespace fff::gpu

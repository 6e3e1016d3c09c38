#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/cuda/cuda_device.h"
#include "server/engine/device/chain.h"
#include "server/engine/device/host_copies.h"
#include "server/engine/device/lane.h"
#include "server/engine/device_engine.h"
#include "server/engine/kernel_plan.h"
#include "tests/unit/engine/device_chain.h"

namespace fff::gpu {

// How long one batch took. Rows are random; kernel time is measured on the
// device with the rows already there, wall time by the caller's clock, from its
// memory through a program and back.
struct DeviceTiming {
  double kernel_s = 0;
  double wall_s = 0;
};

// [rows, width] in rows of `pitch`, the rest zero; normally distributed.
std::vector<float> Noise(int64_t rows, int64_t width, int64_t pitch);

// Median seconds of `repeats` calls of a program with the rows of y, from and
// to pageable memory. x holds one batch after another, all of them different.
absl::StatusOr<double> TimeCalls(const engine::DeviceProgram& program,
                                 tensor::ConstRows x, tensor::MutableRows y,
                                 int repeats);

// A chain on a device, twice: with one lane for its kernels, built and tuned as
// a program builds it, and as a program.
class TimedChain {
 public:
  // `copies` outlives it.
  static absl::StatusOr<std::unique_ptr<TimedChain>> Make(
      const engine::DeviceChain& chain, const engine::DeviceOptions& options,
      engine::Device& device, engine::HostCopies& copies);
  // Which kernel serves batches of `rows` rows in the first layer.
  std::string KernelAt(int64_t rows) const;
  // Medians of `repeats` runs of random rows.
  absl::StatusOr<DeviceTiming> Time(int64_t rows, int repeats);

 private:
  explicit TimedChain(engine::Device& device) : device_(device) {}
  absl::StatusOr<double> TimeKernels(int64_t rows, int repeats);

  engine::Device& device_;
  std::unique_ptr<engine::Chain> chain_;
  std::unique_ptr<engine::Lane> lane_;
  std::unique_ptr<engine::DeviceProgram> program_;
  std::vector<std::vector<engine::KernelPlan::Step>> steps_;
};

// Bytes read and written per second by a large copy within device memory, the
// bound on whatever moves rows. Takes a gigabyte there for part of a second; 0
// when it cannot.
double MeasureCopyRate(engine::Device& device);

// "CUDA 13.0, driver for 13.0".
std::string DescribeCuda();

}  // namespace fff::gpu

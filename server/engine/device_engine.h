#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/executable.h"
#include "server/graph/graph.h"

// An engine on a device of its own: it takes a whole graph, keeps
// their weights in device memory and evaluates batches whose rows come from and
// go to host memory. The CUDA engine implements this in a shared object that
// the process opens at run time (cuda_library.h), so nothing here knows CUDA.
namespace fff::engine {

struct DeviceOptions {
  Precision precision = Precision::kFp32;
  // Dense fp32 layers let tensor cores round the factors of a product to 10
  // bits. For comparisons; nothing that is served sets it.
  bool dense_tf32 = false;
  // Numbers of the devices that get a copy each; batches go to the one with the
  // least work. Never empty.
  std::vector<int> devices = {0};
  // Non-empty: path and leaf layers use exactly this kernel.
  std::string kernel_name;
  // Large batches run in pieces, whose copies and arithmetic overlap, of at
  // most so many rows; 0: as many as copy at full speed.
  int64_t rows_max = 0;
  // Batches, or pieces, in flight per device. Each has memory of its own for
  // rows_max rows.
  int lanes = 4;
  // Of them, for pieces of one batch.
  int lanes_per_batch = 3;
  // What choosing kernels by measurement may take; 0: choose without measuring.
  double tuning_seconds = 0.25;
};

struct DeviceFacts {
  int index = 0;
  std::string name;          // "NVIDIA H100 80GB HBM3"
  std::string architecture;  // "sm_90"
  int64_t memory_bytes = 0;
  int processors = 0;
};

// A graph on its devices. Run takes rows from host memory, gives them back to
// it, and blocks until they are there. Errors are INTERNAL with the device's
// message. The device is then lost to this process, and so is the program:
// every later call returns the same error. The context is not used.
// Thread-safe.
class DeviceProgram : public Executable {
 public:
  // OK, or the error that ended the program.
  virtual absl::Status health() const = 0;
  // Device memory of one copy: weights and buffers.
  virtual int64_t device_bytes() const = 0;
};

class DeviceEngine {
 public:
  virtual ~DeviceEngine() = default;
  virtual const std::vector<DeviceFacts>& devices() const = 0;
  // "CUDA 13.0, driver 13.0": for the log.
  virtual std::string Describe() const = 0;
  // Copies the weights to the devices and chooses kernels. RESOURCE_EXHAUSTED
  // when device memory does not suffice (the message has wanted and free
  // bytes). UNIMPLEMENTED for a layer that no kernel of this engine computes.
  // INVALID_ARGUMENT for a device or kernel that does not exist. INTERNAL for
  // any other error of the device.
  virtual absl::StatusOr<std::unique_ptr<DeviceProgram>> Build(
      const graph::Graph& graph, const DeviceOptions& options) const = 0;
};

}  // namespace fff::engine

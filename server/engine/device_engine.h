#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/kernel.h"
#include "server/engine/kernel_plan.h"
#include "server/engine/weights.h"

// An engine on a device of its own: it takes a whole chain of layers, keeps
// their weights in device memory and evaluates batches whose rows come from and
// go to host memory. The CUDA engine implements this in a shared object that
// the process opens at run time (cuda_library.h), so nothing here knows CUDA.
namespace fff::engine {

// Element by element, any width.
struct ActivationOp {
  Activation activation = Activation::kIdentity;
};
// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias, a row.
struct LayerNormOp {
  tensor::FloatArray weight;  // [width]
  tensor::FloatArray bias;    // [width] or empty
  double epsilon = 0;
};
// y = share * leaf(x) + (1 - share) * output(hidden(x)).
struct MasterLeafOp {
  std::shared_ptr<const LeafWeights> leaf;
  std::shared_ptr<const DenseWeights> hidden;
  std::shared_ptr<const DenseWeights> output;
  float share = 1;
};
using DeviceOp = std::variant<std::shared_ptr<const PathWeights>,
                              std::shared_ptr<const LeafWeights>,
                              std::shared_ptr<const DenseWeights>, MasterLeafOp,
                              ActivationOp, LayerNormOp>;

// Layers in sequence. The output width of one is the input width of the next.
struct DeviceChain {
  int64_t input_width = 0;
  std::vector<DeviceOp> ops;
};

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
  // Batches above this run in pieces, whose copies and arithmetic overlap;
  // 0: as many rows as copy at full speed.
  int64_t rows_max = 0;
  // Batches, or pieces, in flight a device. Each has memory of its own for
  // rows_max rows.
  int lanes = 4;
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

// A chain on its devices. Immutable but for the queues inside; all methods may
// be called from many threads.
class DeviceProgram {
 public:
  virtual ~DeviceProgram() = default;
  // y [rows, output width] from x [rows, input width], both in host memory.
  // `routes` is empty or holds one sink an op; sinks of ops that do not route
  // are ignored. Blocks until y is there. Errors: INTERNAL with the device's
  // message; the device is then lost to this process, and so is the program:
  // every later call returns the same error.
  virtual absl::Status Run(tensor::ConstRows x, tensor::MutableRows y,
                           absl::Span<const RouteSink> routes) const = 0;
  // OK, or the error that ended the program.
  virtual absl::Status health() const = 0;
  // Which kernel serves which batch size of op `op`, as KernelPlan::steps().
  virtual const std::vector<KernelPlan::Step>& steps(size_t op) const = 0;
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
  // bytes), UNIMPLEMENTED for a layer that no kernel of this engine computes,
  // INVALID_ARGUMENT for a device or kernel that does not exist, INTERNAL for
  // any other error of the device.
  virtual absl::StatusOr<std::unique_ptr<DeviceProgram>> Build(
      const DeviceChain& chain, const DeviceOptions& options) const = 0;
};

}  // namespace fff::engine

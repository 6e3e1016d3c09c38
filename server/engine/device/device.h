#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/device/kernel_args.h"

// What the host side of a device engine asks of its device: memory, streams, a
// clock and kernels. CUDA implements it in engine/cuda; a fake on host memory
// does so in tests.
namespace fff::engine {

struct KernelTable;

// What kernels choose by.
struct DeviceTraits {
  int processors = 0;
  int shared_bytes_max = 0;   // dynamic shared memory of a block
  bool has_clusters = false;  // blocks of several processors work together
};

// Work that was recorded once and is queued as a whole. Belongs to its stream.
class Recording {
 public:
  virtual ~Recording() = default;
};

// A queue of work on a device. Used by one thread at a time.
class Stream {
 public:
  using Queue = absl::FunctionRef<absl::Status()>;

  virtual ~Stream() = default;
  // What kernels are launched on.
  virtual void* native() const = 0;
  // Queue a copy of host memory from Device::AllocateHost, or of any host
  // memory that lives until the next Synchronize.
  virtual absl::Status CopyIn(void* device, const void* host,
                              int64_t bytes) = 0;
  virtual absl::Status CopyOut(void* host, const void* device,
                               int64_t bytes) = 0;
  // Waits until everything queued is done. INTERNAL when something failed.
  virtual absl::Status Synchronize() = 0;
  // Records what `queue` queues; nothing of it runs.
  virtual absl::StatusOr<std::unique_ptr<Recording>> Record(Queue queue) = 0;
  virtual absl::Status Replay(const Recording& recording) = 0;
  // Runs what `queue` queues; the device's seconds from its begin to its end.
  virtual absl::StatusOr<double> Time(Queue queue) = 0;
};

// One device. Lives as long as the process; all methods may be called from many
// threads. Errors: RESOURCE_EXHAUSTED for a lack of memory, with the bytes that
// were wanted and those that are free; INTERNAL for the rest.
class Device {
 public:
  virtual ~Device() = default;
  virtual absl::string_view kind() const = 0;  // "cuda"
  virtual const DeviceTraits& traits() const = 0;
  virtual const KernelTable& kernels() const = 0;
  // Zeroed memory of the device, and zeroed host memory from which and to which
  // the device copies by itself.
  virtual absl::StatusOr<std::shared_ptr<void>> Allocate(int64_t bytes) = 0;
  virtual absl::StatusOr<std::shared_ptr<void>> AllocateHost(int64_t bytes) = 0;
  // Blocks until the copy is done.
  virtual absl::Status CopyIn(void* device, const void* host,
                              int64_t bytes) = 0;
  virtual absl::StatusOr<std::unique_ptr<Stream>> MakeStream() = 0;
  // The error after which this device does nothing more, or OK.
  virtual absl::Status LastingError() const = 0;
  // Seconds since whenever, for budgets.
  virtual double NowSeconds() const = 0;
  // Makes this device the one that the thread works with. Returns what Leave
  // takes to go back.
  virtual int Enter() = 0;
  virtual void Leave(int before) = 0;
};

// Works with `device` until the end of the scope.
class UseDevice {
 public:
  explicit UseDevice(Device& device)
      : device_(device), before_(device.Enter()) {}
  ~UseDevice() { device_.Leave(before_); }
  UseDevice(const UseDevice&) = delete;
  UseDevice& operator=(const UseDevice&) = delete;

 private:
  Device& device_;
  int before_;
};

// A block of memory, of a device or of the host side of its copies. Empty by
// default; copies share it.
class Buffer {
 public:
  Buffer() = default;
  static absl::StatusOr<Buffer> Make(Device& device, int64_t bytes);
  static absl::StatusOr<Buffer> MakeHost(Device& device, int64_t bytes);

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

// `count` floats as elements of `type`, to the nearest, and back.
void NarrowRow(WeightType type, const float* from, int64_t count, void* to);
void WidenRow(WeightType type, const void* from, int64_t count, float* to);

// A matrix of weights on the device: `rows` rows of `width` numbers in rows of
// PitchOf(width) elements of `type`, the rest zero. `row(r)` gives the numbers
// of row r, `stride` apart.
struct HostMatrix {
  int64_t rows = 0;
  int64_t width = 0;
  std::function<const float*(int64_t row)> row;
  int64_t stride = 1;
};
absl::StatusOr<Buffer> Upload(Device& device, WeightType type,
                              const HostMatrix& weights);

}  // namespace fff::engine

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/device/device.h"
#include "server/engine/device/kernel_table.h"

// A device on host memory, for the host side of device engines. Work runs when
// its stream is waited for, so a result that nobody waited for is not there.
// Memory, faults and time are the test's.
namespace fff::engine {

class FakeStream;

// What a kernel of the fake did. `rows` of each launch that ran, in order.
struct FakeRun {
  std::string kernel;  // with its variant: "path_split/2"
  int rows = 0;
};

class FakeDevice : public Device {
 public:
  // Both kinds of memory, in bytes.
  explicit FakeDevice(int64_t memory_bytes = int64_t{64} << 20)
      : memory_bytes_(memory_bytes) {}
  ~FakeDevice() override;

  absl::string_view kind() const override { return "fake"; }
  const DeviceTraits& traits() const override { return traits_; }
  const KernelTable& kernels() const override;
  absl::StatusOr<std::shared_ptr<void>> Allocate(int64_t bytes) override;
  absl::StatusOr<std::shared_ptr<void>> AllocateHost(int64_t bytes) override;
  absl::Status CopyIn(void* device, const void* host, int64_t bytes) override;
  absl::StatusOr<std::unique_ptr<Stream>> MakeStream() override;
  absl::Status LastingError() const override { return lasting; }
  double NowSeconds() const override { return now_s; }
  int Enter() override;
  void Leave(int before) override;

  // Sets `kernel` to take fixed + rows * each seconds. Default: 1 + 0.
  void SetTime(const std::string& kernel, double fixed_s, double each_s) {
    times_[kernel] = {fixed_s, each_s};
  }
  double TimeOf(const std::string& kernel, int rows) const;
  int CountRuns(const std::string& kernel) const;
  std::vector<int> RowsOfRuns() const;  // of all kernels

  // The next so many-th allocation fails; 0: none does.
  int allocation_that_fails = 0;
  // The launch of this kernel is refused, and the device is as before.
  std::string refused_kernel;
  // Everything that is waited for fails from now on.
  absl::Status lasting;

  double now_s = 0;
  double copy_s = 0;       // of each copy that a stream makes
  int64_t live_bytes = 0;  // of both kinds of memory
  int allocations = 0;
  int streams = 0;  // that exist
  int replays = 0;
  int64_t copied_in_bytes = 0;  // by streams
  int64_t copied_out_bytes = 0;
  std::vector<FakeRun> runs;

 private:
  friend class FakeStream;

  DeviceTraits traits_ = {2, 1 << 10, false};
  int64_t memory_bytes_;
  std::map<std::string, std::pair<double, double>> times_;
};

// Queues work; a kernel's launch gets it as Stream::native().
class FakeStream : public Stream {
 public:
  using Work = std::function<void()>;

  explicit FakeStream(FakeDevice* device);
  ~FakeStream() override;
  void* native() const override { return const_cast<FakeStream*>(this); }
  absl::Status CopyIn(void* device, const void* host, int64_t bytes) override;
  absl::Status CopyOut(void* host, const void* device, int64_t bytes) override;
  absl::Status Synchronize() override;
  absl::StatusOr<std::unique_ptr<Recording>> Record(Queue queue) override;
  absl::Status Replay(const Recording& recording) override;
  absl::StatusOr<double> Time(Queue queue) override;

  // A launch of `kernel` on `rows` rows, which does `work`.
  absl::Status Launch(const std::string& kernel, int rows, Work work);

 private:
  FakeDevice* const device_;
  std::vector<Work> queued_;
};

}  // namespace fff::engine

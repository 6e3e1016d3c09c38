#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/device/chain.h"
#include "server/engine/device/lane.h"
#include "server/engine/device_engine.h"

namespace fff::engine {

// A graph on one or more devices, and the lanes that batches take.
class Program : public DeviceProgram {
 public:
  // Contract as DeviceEngine::Build. `devices` are all there are, by their
  // numbers; they and `copies` outlive the program.
  static absl::StatusOr<std::unique_ptr<DeviceProgram>> Make(
      const graph::Graph& graph, const DeviceOptions& options,
      absl::Span<Device* const> devices, HostCopies& copies);
  ~Program() override;

  absl::Status Run(const Batch& batch,
                   ExecutionContext& context) const override;
  absl::Status health() const override;
  absl::Span<const NodeReport> report() const override { return report_; }
  int64_t device_bytes() const override { return device_bytes_; }

 private:
  // One device's copy. Members are destroyed by a thread that uses the device.
  struct Replica {
    Device* device = nullptr;
    std::unique_ptr<Chain> chain;
    std::vector<std::unique_ptr<Lane>> lanes;
  };
  // A lane that somebody holds.
  struct Held {
    size_t replica = 0;
    Lane* lane = nullptr;
  };

  Program() = default;
  absl::Status AddReplica(const graph::Graph& graph,
                          const DeviceOptions& options, Device& device,
                          HostCopies& copies);
  // Waits for a lane of the replica with the most free ones; replicas that have
  // as many take turns.
  Held Acquire() const;
  // Adds lanes of the same replica that are free now, up to `most` in all.
  void TryAcquireBeside(std::vector<Held>& held, int64_t most) const;
  // How many rows of a batch of `rows` go through a lane at once.
  int64_t PieceRows(int64_t rows) const;
  void Release(const Held& held) const;
  absl::Status RunPieces(tensor::ConstRows x, tensor::MutableRows y,
                         absl::Span<const RouteSink> routes,
                         const Held& first) const;
  absl::Status RunOn(const std::vector<Held>& held, tensor::ConstRows x,
                     tensor::MutableRows y, absl::Span<const RouteSink> routes,
                     int64_t piece) const;
  // Remembers the first error for good.
  absl::Status Remember(const absl::Status& status) const;

  std::vector<Replica> replicas_;
  std::vector<NodeReport> report_;
  int64_t device_bytes_ = 0;
  int64_t lanes_per_batch_ = 1;
  mutable absl::Mutex mutex_;
  // Free lanes, a queue per replica.
  mutable std::vector<std::deque<Lane*>> free_ ABSL_GUARDED_BY(mutex_);
  mutable size_t taken_ ABSL_GUARDED_BY(mutex_) = 0;  // lanes, ever
  mutable absl::Status failed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::engine

#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/executable.h"
#include "server/model/node_groups.h"
#include "server/serving/batching/task.h"

namespace fff::serving {

// Which batches of a servable are sampled: the first, and every kEvery-th after
// it. The clock is read behind every node: 26 ns per node of such a batch (Zen
// 4), so 8 ns per batch of 3 nodes and 240 of 160 on average. A prime number
// keeps step with no pattern of batch sizes that repeats sooner. Thread-safe
// without a lock: two threads at once may sample a batch each.
class LayerSampler {
 public:
  static constexpr uint32_t kEvery = 17;

  bool Next() {
    const uint32_t before = batches_.load(std::memory_order_relaxed);
    batches_.store(before + 1 == kEvery ? 0 : before + 1,
                   std::memory_order_relaxed);
    return before == 0;
  }

 private:
  std::atomic<uint32_t> batches_{0};
};

// Takes the time of every group of a network's nodes in one batch on the CPU.
// Owned and used by one thread.
class LayerStopwatch {
 public:
  using Now = Clock::time_point (*)();

  explicit LayerStopwatch(Now now = &Clock::now);
  // Its observer holds its address.
  LayerStopwatch(const LayerStopwatch&) = delete;
  LayerStopwatch& operator=(const LayerStopwatch&) = delete;

  // Begins. `groups` must live until the batch is done.
  void Start(const model::NodeGroups& groups);
  // For engine::Batch.
  const engine::NodeObserver* observer() const { return &observer_; }
  // What went by since the last node is nobody's.
  void Skip() { last_ = now_(); }

  // False where no node was seen: a device computed the batch.
  bool any() const { return any_; }
  absl::Span<const int64_t> ns() const { return ns_; }  // by group

 private:
  void Lap(size_t node);

  const Now now_;
  const engine::NodeObserver observer_;
  const model::NodeGroups* groups_ = nullptr;
  Clock::time_point last_{};
  bool any_ = false;
  std::vector<int64_t> ns_;
};

}  // namespace fff::serving

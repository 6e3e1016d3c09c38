#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

// Recording without locks. Every recorder is split into shards, a thread always
// writes the same shard, and a scrape sums the shards.
// (prometheus-cpp 1.0.1 takes a mutex in every Histogram::Observe, which is why
// its own metric classes are not on the request path.)
namespace fff::metrics {

// The first threads that record have a shard each, the others share the rest in
// turn. Nobody else writes a thread's own shard, so that adding to it needs no
// locked instruction; a request makes some seventeen additions.
inline constexpr size_t kOwnShards = 8;
inline constexpr size_t kShards = kOwnShards + 16;

namespace internal {
inline constexpr size_t kNotNumbered = SIZE_MAX;
inline thread_local size_t this_thread_shard = kNotNumbered;
size_t NumberThisThread();
}  // namespace internal

// Shard of the calling thread, below kShards.
inline size_t ThisThreadShard() {
  const size_t shard = internal::this_thread_shard;
  return shard != internal::kNotNumbered ? shard : internal::NumberThisThread();
}

// Adds to a cell of the calling thread's shard.
inline void AddToShard(size_t this_thread_shard, std::atomic<uint64_t>& cell,
                       uint64_t n) {
  if (this_thread_shard < kOwnShards) {
    cell.store(cell.load(std::memory_order_relaxed) + n,
               std::memory_order_relaxed);
  } else {
    cell.fetch_add(n, std::memory_order_relaxed);
  }
}

// A count that only grows. Any thread may add; Value sums what has been added
// so far and never goes backwards.
class Counter {
 public:
  void Add(uint64_t n = 1) {
    const size_t shard = ThisThreadShard();
    AddToShard(shard, cells_[shard].value, n);
  }
  uint64_t Value() const {
    uint64_t sum = 0;
    for (const Cell& cell : cells_) {
      sum += cell.value.load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  struct alignas(64) Cell {
    std::atomic<uint64_t> value{0};
  };
  std::array<Cell, kShards> cells_;
};

// A value that goes up and down; one atomic, for things changed once per
// request.
class Gauge {
 public:
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

}  // namespace fff::metrics

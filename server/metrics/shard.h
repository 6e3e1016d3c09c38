#pragma once

#include <array>
#include <atomic>
#include <cstdint>

// Recording without locks: every recorder is split into shards, a thread always
// writes the same shard with relaxed atomic adds, and a scrape sums the shards.
// (prometheus-cpp 1.0.1 takes a mutex in every Histogram::Observe, which is why
// its own metric classes are not on the request path.)
namespace fff::metrics {

inline constexpr size_t kShards = 16;

// Shard of the calling thread: threads are numbered in the order in which they
// first record, modulo kShards.
size_t ThisThreadShard();

// A count that only grows. Any thread may add; Value sums what has been added
// so far and never goes backwards.
class Counter {
 public:
  void Add(uint64_t n = 1) {
    cells_[ThisThreadShard()].value.fetch_add(n, std::memory_order_relaxed);
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

// A value that goes up and down; one atomic, for things changed once a request.
class Gauge {
 public:
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

}  // namespace fff::metrics

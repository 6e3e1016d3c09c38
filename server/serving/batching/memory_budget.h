#pragma once

#include <atomic>
#include <cstdint>

#include "server/base/check.h"

namespace fff::serving {

// Bytes of all requests that are being answered, with their answers. Bounds
// queues in bytes, and what clients hold that do not read. Thread-safe.
class MemoryBudget {
 public:
  // 0 = no bound.
  explicit MemoryBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // Says no when the bound would be exceeded; then nothing is charged. A
  // request that is larger than the bound is let in when it is the only one, so
  // that it can be served at all.
  // `held` is what the same request was charged before.
  bool TryCharge(int64_t bytes, int64_t held = 0) {
    const int64_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
    if (bytes_max_ == 0 || before <= held || before + bytes <= bytes_max_) {
      return true;
    }
    used_.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  void Release(int64_t bytes) {
    const int64_t before = used_.fetch_sub(bytes, std::memory_order_relaxed);
    FFF_CHECK(before >= bytes);
  }

  int64_t used() const { return used_.load(std::memory_order_relaxed); }
  int64_t bytes_max() const { return bytes_max_; }

 private:
  const int64_t bytes_max_;
  std::atomic<int64_t> used_{0};
};

}  // namespace fff::serving

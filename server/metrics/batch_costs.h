#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace fff::metrics {

// What batches of about one size took, all together.
struct SizeCost {
  uint64_t rows = 0;
  uint64_t compute_ns = 0;
};

// Rows and compute time by the size of the batch, in the buckets of RowBounds:
// costs per row of two implementations compare only at the same batch size. Any
// thread may add; no lock is taken.
class BatchCosts {
 public:
  BatchCosts();

  void Add(uint64_t rows, uint64_t compute_ns);
  // By bucket; the last is of batches above all bounds.
  std::vector<SizeCost> Snapshot() const;

 private:
  size_t stride_;  // cells per shard, padded to cache lines
  std::unique_ptr<std::atomic<uint64_t>[]> cells_;
};

}  // namespace fff::metrics

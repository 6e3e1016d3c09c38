#include "server/metrics/batch_costs.h"

#include <algorithm>

#include "server/metrics/histogram.h"
#include "server/metrics/shard.h"

namespace fff::metrics {
namespace {

constexpr size_t kCountersPerLine = 64 / sizeof(uint64_t);

size_t Buckets() { return RowBounds().size() + 1; }

}  // namespace

BatchCosts::BatchCosts()
    : stride_((2 * Buckets() + kCountersPerLine - 1) / kCountersPerLine *
              kCountersPerLine),
      cells_(std::make_unique<std::atomic<uint64_t>[]>(stride_ * kShards)) {}

void BatchCosts::Add(uint64_t rows, uint64_t compute_ns) {
  const auto bounds = RowBounds();
  const auto bucket = static_cast<size_t>(
      std::lower_bound(bounds.begin(), bounds.end(), rows) - bounds.begin());
  const size_t shard = ThisThreadShard();
  std::atomic<uint64_t>* cells = &cells_[stride_ * shard + 2 * bucket];
  AddToShard(shard, cells[0], rows);
  AddToShard(shard, cells[1], compute_ns);
}

std::vector<SizeCost> BatchCosts::Snapshot() const {
  std::vector<SizeCost> costs(Buckets());
  for (size_t s = 0; s < kShards; ++s) {
    for (size_t b = 0; b < costs.size(); ++b) {
      const std::atomic<uint64_t>* cells = &cells_[stride_ * s + 2 * b];
      costs[b].rows += cells[0].load(std::memory_order_relaxed);
      costs[b].compute_ns += cells[1].load(std::memory_order_relaxed);
    }
  }
  return costs;
}

}  // namespace fff::metrics

#include "server/serving/batching/compute_estimate.h"

#include <algorithm>

#include "server/base/check.h"

namespace fff::serving {
namespace {

constexpr int64_t kPsPerNs = 1000;
constexpr int64_t kGrowthMax = 4;

}  // namespace

size_t ComputeEstimate::SizeOf(int64_t rows) {
  size_t size = 0;
  while (size + 1 < kSizes && (int64_t{2} << size) <= rows) ++size;
  return size;
}

int64_t ComputeEstimate::Nanoseconds(int64_t rows) const {
  const size_t wanted = SizeOf(rows);
  for (size_t below = wanted + 1; below-- > 0;) {
    const int64_t ps = ps_per_row_[below].load(std::memory_order_relaxed);
    if (ps > 0) return ps * rows / kPsPerNs;
  }
  for (size_t above = wanted + 1; above < kSizes; ++above) {
    const int64_t ps = ps_per_row_[above].load(std::memory_order_relaxed);
    if (ps > 0) return ps * rows / kPsPerNs;
  }
  return 0;
}

void ComputeEstimate::Add(int64_t rows, int64_t ns) {
  FFF_CHECK(rows > 0);
  std::atomic<int64_t>& cell = ps_per_row_[SizeOf(rows)];
  const int64_t before = cell.load(std::memory_order_relaxed);
  int64_t now = std::max<int64_t>(1, ns * kPsPerNs / rows);
  // A thread that was put aside for milliseconds says nothing about the model.
  if (before > 0) now = std::min(now, before * kGrowthMax);
  const int64_t share = before == 0 ? 1 : now < before ? 2 : 8;
  cell.store(before + (now - before) / share, std::memory_order_relaxed);
}

void ComputeEstimate::Doubt() {
  for (std::atomic<int64_t>& cell : ps_per_row_) {
    const int64_t before = cell.load(std::memory_order_relaxed);
    if (before > 1) {
      cell.store(before - std::max<int64_t>(1, before / 16),
                 std::memory_order_relaxed);
    }
  }
}

}  // namespace fff::serving

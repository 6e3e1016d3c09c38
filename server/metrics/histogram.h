#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "server/metrics/shard.h"

namespace fff::metrics {

// Upper bounds in nanoseconds, 10 us to 10 s, six a decade (1, 1.5, 2, 3, 5,
// 7): a percentile read from the buckets is off by at most a third.
absl::Span<const uint64_t> DurationBoundsNs();
// Upper bounds in rows: 1, 2, 4, ... 65536.
absl::Span<const uint64_t> RowBounds();

// What a histogram held at one moment.
struct HistogramSnapshot {
  std::vector<uint64_t> counts;  // a bucket, not cumulative; last = above all
  uint64_t count = 0;            // sum of counts
  uint64_t sum = 0;              // of observed values, in their own unit
};

// Counts of whole-number observations in fixed buckets (value <= bound). Any
// thread may observe; no lock is taken. A snapshot taken meanwhile holds every
// observation that finished before it and maybe some of the later ones; its
// `count` always equals the sum of its buckets.
class Histogram {
 public:
  // `bounds` ascend and outlive the histogram.
  explicit Histogram(absl::Span<const uint64_t> bounds);

  void Observe(uint64_t value);
  // Where `value` is counted: an index of HistogramSnapshot::counts.
  size_t BucketOf(uint64_t value) const;
  HistogramSnapshot Snapshot() const;
  absl::Span<const uint64_t> bounds() const { return bounds_; }

 private:
  absl::Span<const uint64_t> bounds_;
  size_t stride_;  // cells per shard: sum, then buckets, padded to cache lines
  std::unique_ptr<std::atomic<uint64_t>[]> cells_;
};

}  // namespace fff::metrics

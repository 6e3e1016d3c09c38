#include "server/metrics/histogram.h"

#include <array>

namespace fff::metrics {
namespace {

constexpr std::array<uint64_t, 37> kDurationBoundsNs = {
    10'000,        15'000,        20'000,        30'000,        50'000,
    70'000,        100'000,       150'000,       200'000,       300'000,
    500'000,       700'000,       1'000'000,     1'500'000,     2'000'000,
    3'000'000,     5'000'000,     7'000'000,     10'000'000,    15'000'000,
    20'000'000,    30'000'000,    50'000'000,    70'000'000,    100'000'000,
    150'000'000,   200'000'000,   300'000'000,   500'000'000,   700'000'000,
    1'000'000'000, 1'500'000'000, 2'000'000'000, 3'000'000'000, 5'000'000'000,
    7'000'000'000, 10'000'000'000};

constexpr std::array<uint64_t, 17> kRowBounds = {
    1,   2,    4,    8,    16,   32,    64,    128,  256,
    512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};

constexpr size_t kCellsPerLine = 64 / sizeof(uint64_t);

// Index of the first bound that is not below `value`. Steps do not branch:
// durations are spread over buckets, and std::lower_bound guesses wrong.
size_t FindBucket(absl::Span<const uint64_t> bounds, uint64_t value) {
  const uint64_t* base = bounds.data();
  for (size_t left = bounds.size(); left > 1;) {
    const size_t half = left / 2;
    base = base[half - 1] < value ? base + half : base;
    left -= half;
  }
  return static_cast<size_t>(base - bounds.data()) + (*base < value ? 1 : 0);
}

}  // namespace

namespace internal {

size_t NumberThisThread() {
  static std::atomic<size_t> next{0};
  const size_t number = next.fetch_add(1, std::memory_order_relaxed);
  this_thread_shard =
      number < kOwnShards
          ? number
          : kOwnShards + (number - kOwnShards) % (kShards - kOwnShards);
  return this_thread_shard;
}

}  // namespace internal

absl::Span<const uint64_t> DurationBoundsNs() { return kDurationBoundsNs; }
absl::Span<const uint64_t> RowBounds() { return kRowBounds; }

Histogram::Histogram(absl::Span<const uint64_t> bounds)
    : bounds_(bounds),
      stride_((bounds.size() + 2 + kCellsPerLine - 1) / kCellsPerLine *
              kCellsPerLine),
      cells_(std::make_unique<std::atomic<uint64_t>[]>(stride_ * kShards)) {}

void Histogram::Observe(uint64_t value) {
  const size_t bucket = BucketOf(value);
  const size_t shard = ThisThreadShard();
  std::atomic<uint64_t>* cells = &cells_[stride_ * shard];
  AddToShard(shard, cells[0], value);
  AddToShard(shard, cells[1 + bucket], 1);
}

size_t Histogram::BucketOf(uint64_t value) const {
  return FindBucket(bounds_, value);
}

HistogramSnapshot Histogram::Snapshot() const {
  HistogramSnapshot snapshot;
  snapshot.counts.resize(bounds_.size() + 1);
  for (size_t s = 0; s < kShards; ++s) {
    const std::atomic<uint64_t>* shard = &cells_[stride_ * s];
    snapshot.sum += shard[0].load(std::memory_order_relaxed);
    for (size_t b = 0; b < snapshot.counts.size(); ++b) {
      snapshot.counts[b] += shard[1 + b].load(std::memory_order_relaxed);
    }
  }
  for (const uint64_t n : snapshot.counts) snapshot.count += n;
  return snapshot;
}

}  // namespace fff::metrics

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#include "server/metrics/histogram.h"
#include "server/metrics/shard.h"

namespace fff::metrics {
namespace {

using ::testing::ElementsAre;

// Runs `body(thread index)` on `threads` threads and waits for them.
void OnThreads(int threads, const std::function<void(int)>& body) {
  std::vector<std::thread> running;
  running.reserve(static_cast<size_t>(threads));
  for (int t = 0; t < threads; ++t) running.emplace_back(body, t);
  for (std::thread& thread : running) thread.join();
}

// The first of the process's tests that records: threads with shards of their
// own and threads that share add to one counter.
TEST(Shard, OfItsOwnBelongsToOneThreadAndTheOthersShareTheRest) {
  std::vector<size_t> shards(3 * kShards);
  Counter counter;
  OnThreads(static_cast<int>(shards.size()), [&](int t) {
    shards[static_cast<size_t>(t)] = ThisThreadShard();
    for (int i = 0; i < 20000; ++i) counter.Add();
  });
  EXPECT_EQ(counter.Value(), shards.size() * 20000);
  std::multiset<size_t> users(shards.begin(), shards.end());
  for (size_t shard = 0; shard < kShards; ++shard) {
    if (shard < kOwnShards) {
      EXPECT_LE(users.count(shard), 1u);
    } else {
      EXPECT_GE(users.count(shard), 2u);
    }
  }
}

TEST(Shard, StaysTheSameOnOneThreadAndBelowTheBound) {
  OnThreads(40, [](int) {
    const size_t first = ThisThreadShard();
    EXPECT_LT(first, kShards);
    EXPECT_EQ(ThisThreadShard(), first);
  });
}

TEST(Counter, StartsAtZeroAndAddsOneUnlessTold) {
  Counter counter;
  EXPECT_EQ(counter.Value(), 0u);
  counter.Add();
  counter.Add(41);
  EXPECT_EQ(counter.Value(), 42u);
  counter.Add(0);
  EXPECT_EQ(counter.Value(), 42u);
}

// More threads than shards, so that several share a cell.
TEST(Counter, LosesNothingFromManyThreads) {
  constexpr int kThreads = 40;
  constexpr uint64_t kAdds = 20000;
  Counter counter;
  OnThreads(kThreads, [&](int t) {
    for (uint64_t i = 0; i < kAdds; ++i) {
      counter.Add(static_cast<uint64_t>(t));
    }
  });
  EXPECT_EQ(counter.Value(), kAdds * (kThreads * (kThreads - 1) / 2));
}

TEST(Counter, NeverGoesBackWhileOthersAdd) {
  Counter counter;
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    uint64_t last = 0;
    while (!stop.load()) {
      const uint64_t value = counter.Value();
      EXPECT_GE(value, last);
      last = value;
    }
  });
  OnThreads(4, [&](int) {
    for (int i = 0; i < 20000; ++i) counter.Add();
  });
  stop.store(true);
  reader.join();
  EXPECT_EQ(counter.Value(), 80000u);
}

TEST(Gauge, GoesUpAndDownAndBelowZero) {
  Gauge gauge;
  EXPECT_EQ(gauge.Value(), 0);
  gauge.Add(5);
  gauge.Add(-7);
  EXPECT_EQ(gauge.Value(), -2);
}

TEST(Gauge, EndsWhereItStartedWhenEveryThreadTakesBackWhatItAdded) {
  Gauge gauge;
  OnThreads(8, [&](int t) {
    for (int i = 0; i < 5000; ++i) {
      gauge.Add(t);
      gauge.Add(-t);
    }
  });
  EXPECT_EQ(gauge.Value(), 0);
}

constexpr uint64_t kBounds[] = {10, 20, 50};

TEST(Histogram, CountsAValueThatEqualsABoundInThatBoundsBucket) {
  Histogram histogram(kBounds);
  for (const uint64_t value : {0u, 9u, 10u, 11u, 20u, 21u, 50u, 51u, 1000u}) {
    histogram.Observe(value);
  }
  const HistogramSnapshot snapshot = histogram.Snapshot();
  EXPECT_THAT(snapshot.counts, ElementsAre(3, 2, 2, 2));
  EXPECT_EQ(snapshot.count, 9u);
  EXPECT_EQ(snapshot.sum, 0u + 9 + 10 + 11 + 20 + 21 + 50 + 51 + 1000);
}

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram histogram(kBounds);
  const HistogramSnapshot snapshot = histogram.Snapshot();
  EXPECT_THAT(snapshot.counts, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(snapshot.count, 0u);
  EXPECT_EQ(snapshot.sum, 0u);
}

TEST(Histogram, PutsTheLargestValueAboveAllBounds) {
  Histogram histogram(kBounds);
  histogram.Observe(std::numeric_limits<uint64_t>::max());
  EXPECT_THAT(histogram.Snapshot().counts, ElementsAre(0, 0, 0, 1));
}

// Each number of bounds lays the cells out differently over cache lines; no
// shard may run into the next.
TEST(Histogram, KeepsShardsApartForAnyNumberOfBounds) {
  std::vector<uint64_t> bounds;
  for (uint64_t n = 1; n <= 40; ++n) {
    bounds.push_back(n);
    Histogram histogram(bounds);
    OnThreads(3, [&](int) {
      for (uint64_t value = 1; value <= n + 1; ++value) {
        histogram.Observe(value);
      }
    });
    const HistogramSnapshot snapshot = histogram.Snapshot();
    EXPECT_EQ(snapshot.counts, std::vector<uint64_t>(n + 1, 3));
    EXPECT_EQ(snapshot.sum, 3 * (n + 1) * (n + 2) / 2);
  }
}

TEST(Histogram, LosesNothingFromManyThreads) {
  constexpr int kThreads = 20;
  constexpr uint64_t kObservations = 6000;
  Histogram histogram(kBounds);
  OnThreads(kThreads, [&](int) {
    for (uint64_t i = 0; i < kObservations; ++i) histogram.Observe(i % 60);
  });
  const HistogramSnapshot snapshot = histogram.Snapshot();
  constexpr uint64_t kRounds = kThreads * kObservations / 60;
  EXPECT_THAT(snapshot.counts, ElementsAre(11 * kRounds, 10 * kRounds,
                                           30 * kRounds, 9 * kRounds));
  EXPECT_EQ(snapshot.count, kThreads * kObservations);
  EXPECT_EQ(snapshot.sum, kRounds * (59 * 60 / 2));
}

TEST(Histogram, SnapshotsAreConsistentWhileOthersObserve) {
  Histogram histogram(kBounds);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    uint64_t last = 0;
    while (!stop.load()) {
      const HistogramSnapshot snapshot = histogram.Snapshot();
      uint64_t buckets = 0;
      for (const uint64_t n : snapshot.counts) buckets += n;
      EXPECT_EQ(snapshot.count, buckets);
      EXPECT_GE(snapshot.count, last);
      last = snapshot.count;
    }
  });
  OnThreads(4, [&](int) {
    for (uint64_t i = 0; i < 10000; ++i) histogram.Observe(i % 60);
  });
  stop.store(true);
  reader.join();
  EXPECT_EQ(histogram.Snapshot().count, 40000u);
}

TEST(Bounds, OfDurationsAscendFromTenMicrosecondsToTenSeconds) {
  const absl::Span<const uint64_t> bounds = DurationBoundsNs();
  EXPECT_EQ(bounds.front(), 10'000u);
  EXPECT_EQ(bounds.back(), 10'000'000'000u);
  for (size_t i = 1; i < bounds.size(); ++i) {
    EXPECT_GT(bounds[i], bounds[i - 1]);
    // Six a decade: a percentile read from a bucket is off by a third or so.
    EXPECT_LE(static_cast<double>(bounds[i]),
              1.7 * static_cast<double>(bounds[i - 1]));
  }
}

TEST(Bounds, OfRowsAreThePowersOfTwo) {
  const absl::Span<const uint64_t> bounds = RowBounds();
  for (size_t i = 0; i < bounds.size(); ++i) {
    EXPECT_EQ(bounds[i], uint64_t{1} << i);
  }
  EXPECT_EQ(bounds.back(), 65536u);
}

}  // namespace
}  // namespace fff::metrics

#include "server/metrics/layer_times.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace fff::metrics {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Lines(const LayerTimes& times) {
  std::vector<std::string> lines;
  for (const LayerTimes::Series& one : times.series()) {
    lines.push_back(one.layer + " " + std::to_string(one.ns));
  }
  return lines;
}

TEST(LayerTimes, AddsUpBatches) {
  LayerTimes times({{"linear", 2, false, 0}, {"fff", 1, true, 1}});
  EXPECT_EQ(times.sums().batches, 0u);
  times.Record({{10, 20}, 3, 12});
  times.Record({{1, 2}, 4, 5});
  const LayerTimes::Sums sums = times.sums();
  EXPECT_EQ(sums.batches, 2u);
  EXPECT_EQ(sums.rows, 7u);
  EXPECT_EQ(sums.tokens, 17u);
  EXPECT_THAT(sums.ns, ElementsAre(11, 22));
}

TEST(LayerTimes, ManyThreadsLoseNothing) {
  LayerTimes times({{"linear", 1, false, 0}, {"fff", 1, true, 1}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&times] {
      for (int i = 0; i < 1000; ++i) times.Record({{1, 2}, 1, 1});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(times.sums().ns, ElementsAre(4000, 8000));
  EXPECT_EQ(times.sums().batches, 4000u);
}

TEST(LayerTimes, FffLayersStandByTheirFirstIndexAndAllElseTogether) {
  // The master leaf of layer 4 is two groups.
  LayerTimes times({{"linear", 2, false, 0},
                    {"fff: a", 6, true, 1},
                    {"norm", 6, false, 2},
                    {"fff: b", 1, true, 4},
                    {"fff: b's blend", 1, true, 4}});
  EXPECT_THAT(Lines(times), ElementsAre("1 0", "4 0", "other 0"));
  times.Record({{1, 20, 300, 4000, 50000}, 1, 1});
  EXPECT_THAT(Lines(times), ElementsAre("1 20", "4 54000", "other 301"));
}

TEST(LayerTimes, ANetworkHasTenSeriesAtMost) {
  std::vector<LayerGroup> groups = {{"linear", 1, false, 0}};
  std::vector<int64_t> ns = {7};
  for (int i = 1; i <= 100; ++i) {
    groups.push_back({"fff: " + std::to_string(i), 1, true, i});
    ns.push_back(1);
  }
  LayerTimes times(std::move(groups));
  times.Record({ns, 1, 1});
  EXPECT_THAT(Lines(times),
              ElementsAre("1 1", "2 1", "3 1", "4 1", "5 1", "6 1", "7 1",
                          "8 1", "fff 92", "other 7"));
}

}  // namespace
}  // namespace fff::metrics

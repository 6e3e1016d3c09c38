#include "server/benchmark/statistics.h"

#include <gtest/gtest.h>

namespace fff::benchmark {
namespace {

TEST(StatisticsTest, SummarizesSamplesInAnyOrder) {
  const Latency latency = Summarize({3, 1, 2, 5, 4});
  EXPECT_EQ(latency.samples, 5);
  EXPECT_DOUBLE_EQ(latency.median_s, 3);
  EXPECT_DOUBLE_EQ(latency.min_s, 1);
  EXPECT_DOUBLE_EQ(latency.mean_s, 3);
  EXPECT_DOUBLE_EQ(latency.p10_s, 1.4);
  EXPECT_DOUBLE_EQ(latency.p90_s, 4.6);
  EXPECT_DOUBLE_EQ(latency.p99_s, 4.96);
}

TEST(StatisticsTest, MedianOfAnEvenCountLiesBetweenTheMiddleTwo) {
  EXPECT_DOUBLE_EQ(Summarize({1, 2, 4, 8}).median_s, 3);
}

TEST(StatisticsTest, OneSampleIsEveryQuantile) {
  const Latency latency = Summarize({7});
  EXPECT_DOUBLE_EQ(latency.median_s, 7);
  EXPECT_DOUBLE_EQ(latency.p10_s, 7);
  EXPECT_DOUBLE_EQ(latency.p99_s, 7);
}

TEST(StatisticsTest, NoSamplesGiveZeros) {
  const Latency latency = Summarize({});
  EXPECT_EQ(latency.samples, 0);
  EXPECT_EQ(latency.median_s, 0);
  EXPECT_EQ(latency.mean_s, 0);
}

TEST(StatisticsTest, OneOutlierMovesTheMeanAndNotTheMedian) {
  const Latency latency = Summarize({1, 1, 1, 1, 1000});
  EXPECT_DOUBLE_EQ(latency.median_s, 1);
  EXPECT_GT(latency.mean_s, 200);
}

TEST(StatisticsTest, QuantilesOutsideZeroToOneAreTheExtremes) {
  EXPECT_DOUBLE_EQ(Quantile({1, 2, 3}, -1), 1);
  EXPECT_DOUBLE_EQ(Quantile({1, 2, 3}, 2), 3);
}

}  // namespace
}  // namespace fff::benchmark

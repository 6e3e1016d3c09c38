#include "server/serving/batching/compute_estimate.h"

#include <gtest/gtest.h>

namespace fff::serving {
namespace {

TEST(ComputeEstimate, KnowsNothingAtFirst) {
  const ComputeEstimate estimate;
  EXPECT_EQ(estimate.Nanoseconds(1), 0);
  EXPECT_EQ(estimate.Nanoseconds(int64_t{1} << 40), 0);
}

TEST(ComputeEstimate, TakesTheFirstBatchAtItsWord) {
  ComputeEstimate estimate;
  estimate.Add(64, 6400);
  EXPECT_EQ(estimate.Nanoseconds(64), 6400);
  EXPECT_EQ(estimate.Nanoseconds(100), 10000);
}

TEST(ComputeEstimate, TakesOtherSizesFromTheNearestBelow) {
  ComputeEstimate estimate;
  estimate.Add(1, 1000);
  estimate.Add(64, 6400);
  EXPECT_EQ(estimate.Nanoseconds(4), 4000);
  EXPECT_EQ(estimate.Nanoseconds(1024), 102400);
}

TEST(ComputeEstimate, TakesSizesBelowAllFromTheNearestAbove) {
  ComputeEstimate estimate;
  estimate.Add(64, 6400);
  EXPECT_EQ(estimate.Nanoseconds(1), 100);
}

TEST(ComputeEstimate, FollowsQuickBatchesSoonerThanSlowOnes) {
  ComputeEstimate slow;
  slow.Add(1, 1000);
  slow.Add(1, 3400);
  EXPECT_EQ(slow.Nanoseconds(1), 1300);
  ComputeEstimate quick;
  quick.Add(1, 9000);
  quick.Add(1, 1000);
  EXPECT_EQ(quick.Nanoseconds(1), 5000);
}

TEST(ComputeEstimate, OneVerySlowBatchDoesNotSpoilIt) {
  ComputeEstimate estimate;
  estimate.Add(1, 1000);
  estimate.Add(1, 1'000'000'000);
  EXPECT_LT(estimate.Nanoseconds(1), 1500);
  for (int i = 0; i < 100; ++i) estimate.Add(1, 1'000'000'000);
  EXPECT_GT(estimate.Nanoseconds(1), 900'000'000);  // it is slow now
}

TEST(ComputeEstimate, DoubtMakesItSmallerInTheEnd) {
  ComputeEstimate estimate;
  estimate.Add(8, 1'000'000'000);
  for (int i = 0; i < 100; ++i) estimate.Doubt();
  EXPECT_LT(estimate.Nanoseconds(8), 10'000'000);
  for (int i = 0; i < 10'000; ++i) estimate.Doubt();
  EXPECT_GE(estimate.Nanoseconds(8), 0);
}

TEST(ComputeEstimate, TakesSizesBeyondItsTable) {
  ComputeEstimate estimate;
  estimate.Add(int64_t{1} << 40, int64_t{1} << 41);
  EXPECT_EQ(estimate.Nanoseconds(int64_t{1} << 40), int64_t{1} << 41);
}

}  // namespace
}  // namespace fff::serving

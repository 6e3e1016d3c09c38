#include "server/serving/batch_policy.h"

#include <gtest/gtest.h>

namespace fff::serving {
namespace {

using std::chrono::microseconds;

const Clock::time_point kOldest = Clock::time_point(std::chrono::hours(5));
const Clock::time_point kNever = Clock::time_point::max();

TEST(DispatchTime, IsAtOnceWithoutAQueueDelay) {
  const BatchPolicy policy = {64, microseconds(0)};
  EXPECT_EQ(DispatchTime(policy, 1, kOldest, kNever), kOldest);
  EXPECT_EQ(DispatchTime(policy, 1, kOldest, kOldest + microseconds(1)),
            kOldest);
}

TEST(DispatchTime, WaitsForCompanyAsLongAsTheOldestTaskMay) {
  const BatchPolicy policy = {64, microseconds(500)};
  EXPECT_EQ(DispatchTime(policy, 63, kOldest, kNever),
            kOldest + microseconds(500));
}

TEST(DispatchTime, ClosesABatchThatIsFull) {
  const BatchPolicy policy = {64, microseconds(500)};
  EXPECT_EQ(DispatchTime(policy, 64, kOldest, kNever), kOldest);
  EXPECT_EQ(DispatchTime(policy, 1000, kOldest, kNever), kOldest);
}

TEST(DispatchTime, ClosesBatchWhenATaskNearsItsDeadline) {
  const BatchPolicy policy = {64, microseconds(500)};
  EXPECT_EQ(DispatchTime(policy, 1, kOldest, kOldest + microseconds(200)),
            kOldest + microseconds(100));
}

TEST(DispatchTime, IsNotMovedByADeadlineThatIsFarAway) {
  const BatchPolicy policy = {64, microseconds(500)};
  EXPECT_EQ(DispatchTime(policy, 1, kOldest, kOldest + microseconds(1000)),
            kOldest + microseconds(500));
  EXPECT_EQ(DispatchTime(policy, 1, kOldest, kOldest + std::chrono::hours(1)),
            kOldest + microseconds(500));
}

TEST(DispatchTime, IsInThePastWhenTheDeadlineIs) {
  const BatchPolicy policy = {64, microseconds(500)};
  EXPECT_LE(DispatchTime(policy, 1, kOldest, kOldest), kOldest);
}

TEST(BatchSize, TakesEveryTaskThatFits) {
  const BatchPolicy policy = {8, microseconds(0)};
  EXPECT_EQ(BatchSize(policy, {1, 2, 3}), 3u);
  EXPECT_EQ(BatchSize(policy, {4, 4}), 2u);
  EXPECT_EQ(BatchSize(policy, {8}), 1u);
}

TEST(BatchSize, StopsBeforeTheTaskThatDoesNotFit) {
  const BatchPolicy policy = {8, microseconds(0)};
  EXPECT_EQ(BatchSize(policy, {4, 4, 1}), 2u);
  // Order is kept: a later task that would fit does not overtake.
  EXPECT_EQ(BatchSize(policy, {4, 5, 1}), 1u);
}

TEST(BatchSize, RunsATaskAboveTheBoundAlone) {
  const BatchPolicy policy = {8, microseconds(0)};
  EXPECT_EQ(BatchSize(policy, {100}), 1u);
  EXPECT_EQ(BatchSize(policy, {100, 1}), 1u);
  EXPECT_EQ(BatchSize(policy, {1, 100}), 1u);
}

}  // namespace
}  // namespace fff::serving

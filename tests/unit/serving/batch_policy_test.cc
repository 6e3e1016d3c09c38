#include "server/serving/batching/batch_policy.h"

#include <gtest/gtest.h>

namespace fff::serving {
namespace {

using std::chrono::microseconds;

const Clock::time_point kOldest = Clock::time_point(std::chrono::hours(5));
const Clock::time_point kNoDeadline = Clock::time_point::max();

TEST(DispatchTime, IsAtOnceWithoutAQueueDelay) {
  const BatchPolicy policy = {64, microseconds(0)};
  EXPECT_EQ(DispatchTime(policy, 1, kOldest, kNoDeadline), kOldest);
  EXPECT_EQ(DispatchTime(policy, 1, kOldest, kOldest + microseconds(1)),
            kOldest);
}

TEST(DispatchTime, WaitsForCompanyAsLongAsTheOldestTaskMay) {
  const BatchPolicy policy = {64, microseconds(500)};
  EXPECT_EQ(DispatchTime(policy, 63, kOldest, kNoDeadline),
            kOldest + microseconds(500));
}

TEST(DispatchTime, ClosesABatchThatIsFull) {
  const BatchPolicy policy = {64, microseconds(500)};
  EXPECT_EQ(DispatchTime(policy, 64, kOldest, kNoDeadline), kOldest);
  EXPECT_EQ(DispatchTime(policy, 1000, kOldest, kNoDeadline), kOldest);
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

TEST(BatchMax, IsAnEvenShareWhereOthersAreIdle) {
  const BatchPolicy policy = {4096, microseconds(0)};
  EXPECT_EQ(BatchMax(policy, 4000, 1, microseconds(10000)).tokens, 2000);
  EXPECT_EQ(BatchMax(policy, 4001, 3, microseconds(10000)).tokens, 1001);
}

TEST(BatchMax, WakesNobodyForLessThanHalfAMillisecond) {
  const BatchPolicy policy = {4096, microseconds(0)};
  EXPECT_EQ(BatchMax(policy, 4000, 7, microseconds(999)).tokens, 4096);
  EXPECT_EQ(BatchMax(policy, 4000, 7, microseconds(1000)).tokens, 2000);
  EXPECT_EQ(BatchMax(policy, 4000, 7, microseconds(0)).tokens, 4096);
}

TEST(BatchMax, GivesNoShareThatMostlyReadsWeights) {
  const BatchPolicy policy = {4096, microseconds(0)};
  EXPECT_EQ(BatchMax(policy, 63, 7, microseconds(1000000)).tokens, 4096);
  EXPECT_EQ(BatchMax(policy, 64, 7, microseconds(1000000)).tokens, 32);
  EXPECT_EQ(BatchMax(policy, 100, 7, microseconds(1000000)).tokens, 34);
}

TEST(BatchMax, IsTheBoundOfThePolicyWhereNobodyIsIdle) {
  const BatchPolicy policy = {4096, microseconds(0)};
  EXPECT_EQ(BatchMax(policy, 4000, 0, microseconds(10000)).tokens, 4096);
  EXPECT_EQ(BatchMax(policy, 100000, 1, microseconds(1000000)).tokens, 4096);
}

TEST(BatchMax, LeavesNothingBehindThatWouldWaitForCompany) {
  const BatchPolicy policy = {4096, microseconds(500)};
  EXPECT_EQ(BatchMax(policy, 4000, 3, microseconds(10000)).tokens, 4096);
}

TEST(RowsToTake, TakesEveryTaskThatFits) {
  EXPECT_EQ(RowsToTake(8, 0, 1, 1), 1);
  EXPECT_EQ(RowsToTake(8, 0, 8, 1), 8);
  EXPECT_EQ(RowsToTake(8, 5, 3, 1), 3);
}

TEST(RowsToTake, KeepsATaskWhole) {
  EXPECT_EQ(RowsToTake(8, 5, 4, 1), 0);
  EXPECT_EQ(RowsToTake(8, 8, 1, 1), 0);
}

TEST(RowsToTake, CutsATaskAboveTheBoundIntoBatches) {
  EXPECT_EQ(RowsToTake(8, 0, 100, 1), 8);
  EXPECT_EQ(RowsToTake(8, 1, 100, 1), 0);
  EXPECT_EQ(RowsToTake(8, 0, 4, 1), 4);  // what is left of it
}

TEST(RowsToTake, CountsTheTokensOfSequences) {
  const engine::Extent max = {8, 100};
  EXPECT_EQ(RowsToTake(max, {2, 40}, 3, 20), 3);
  EXPECT_EQ(RowsToTake(max, {2, 41}, 3, 20), 0);
  EXPECT_EQ(RowsToTake(max, {6, 6}, 3, 1), 0);
  EXPECT_EQ(RowsToTake(max, {}, 20, 30), 3);
  EXPECT_EQ(RowsToTake(max, {}, 20, 1), 8);
  EXPECT_EQ(RowsToTake(max, {}, 20, 1000), 1);  // a row is not divided
}

TEST(DispatchTime, ClosesABatchThatIsFullOfTokens) {
  BatchPolicy policy = {64, microseconds(500)};
  policy.max_batch_tokens = 1000;
  EXPECT_EQ(DispatchTime(policy, {3, 999}, kOldest, kNoDeadline),
            kOldest + microseconds(500));
  EXPECT_EQ(DispatchTime(policy, {3, 1000}, kOldest, kNoDeadline), kOldest);
}

TEST(Judge, DropsTheCancelledFirst) {
  EXPECT_EQ(Judge(true, kOldest, kOldest, {}), Fate::kCancelled);
  EXPECT_EQ(Judge(true, kNoDeadline, kOldest, {}), Fate::kCancelled);
}

TEST(Judge, DropsWhatIsPastItsDeadline) {
  EXPECT_EQ(Judge(false, kOldest, kOldest, {}), Fate::kExpired);
  EXPECT_EQ(Judge(false, kOldest + microseconds(1), kOldest, {}), Fate::kRun);
}

TEST(Judge, DropsWhatCannotFinishInTime) {
  const Clock::time_point deadline = kOldest + microseconds(10);
  EXPECT_EQ(Judge(false, deadline, kOldest, microseconds(11)), Fate::kTooLate);
  EXPECT_EQ(Judge(false, deadline, kOldest, microseconds(10)), Fate::kRun);
  EXPECT_EQ(Judge(false, kNoDeadline, kOldest, std::chrono::hours(1)),
            Fate::kRun);
}

TEST(StatusOf, SaysWhetherAnythingWasComputed) {
  EXPECT_EQ(StatusOf(Fate::kRun, true), absl::OkStatus());
  for (const Fate fate : {Fate::kCancelled, Fate::kExpired, Fate::kTooLate}) {
    const std::string none(StatusOf(fate, false).message());
    EXPECT_NE(none.find("nothing was computed"), std::string::npos) << none;
    const std::string some(StatusOf(fate, true).message());
    EXPECT_EQ(some.find("nothing was computed"), std::string::npos) << some;
    EXPECT_EQ(StatusOf(fate, false).code(), StatusOf(fate, true).code());
  }
  EXPECT_TRUE(absl::IsCancelled(StatusOf(Fate::kCancelled, false)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(StatusOf(Fate::kTooLate, false)));
}

TEST(RunsInline, NeedsAFreeWorkerAndAKnownCost) {
  EXPECT_TRUE(RunsInline({true, false, microseconds(1)}));
  EXPECT_FALSE(RunsInline({false, false, microseconds(1)}));
  EXPECT_FALSE(RunsInline({true, false, microseconds(0)}));
}

TEST(RunsInline, TakesLongerTasksOnlyWhenNothingElseWaits) {
  EXPECT_TRUE(RunsInline({true, true, microseconds(2)}));
  EXPECT_FALSE(RunsInline({true, true, microseconds(50)}));
  EXPECT_TRUE(RunsInline({true, false, microseconds(50)}));
  EXPECT_FALSE(RunsInline({true, false, microseconds(500)}));
}

}  // namespace
}  // namespace fff::serving

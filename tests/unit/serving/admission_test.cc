#include "server/serving/batching/admission.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "server/serving/batching/retry_after.h"

namespace fff::serving {
namespace {

const Clock::time_point kNow = Clock::time_point(std::chrono::hours(5));
const Clock::time_point kNever = Clock::time_point::max();

// `status` without what it carries beside code and message.
absl::Status Bare(const absl::Status& status) {
  return absl::Status(status.code(), status.message());
}

absl::Status AdmitRows(int64_t queued, int64_t bound, int64_t rows) {
  return Admit({queued, bound, false}, rows, kNever, kNow);
}

TEST(Admit, LetsARequestIntoAnEmptyQueue) {
  EXPECT_TRUE(AdmitRows(0, 8, 1).ok());
}

TEST(Admit, FillsTheQueueToItsBoundAndNoFurther) {
  EXPECT_TRUE(AdmitRows(5, 8, 3).ok());
  EXPECT_EQ(Bare(AdmitRows(5, 8, 4)),
            absl::ResourceExhaustedError(
                "the queue is full: 5 rows wait, the request has 4, "
                "max_queue_rows is 8; retry later"));
  EXPECT_EQ(AdmitRows(8, 8, 1).code(), absl::StatusCode::kResourceExhausted);
}

TEST(Admit, BoundsTokensBesideRows) {
  const AdmissionState state = {{2, 90}, {100, 100}, false};
  EXPECT_TRUE(Admit(state, {98, 10}, kNever, kNow).ok());
  EXPECT_EQ(Bare(Admit(state, {1, 11}, kNever, kNow)),
            absl::ResourceExhaustedError(
                "the queue is full: 90 tokens wait, the request has 11, "
                "max_queue_tokens is 100; retry later"));
  EXPECT_EQ(Bare(Admit(state, {99, 10}, kNever, kNow)),
            absl::ResourceExhaustedError(
                "the queue is full: 2 rows wait, the request has 99, "
                "max_queue_rows is 100; retry later"));
  EXPECT_TRUE(Admit({0, {100, 100}, false}, {1, 5000}, kNever, kNow).ok());
}

TEST(Admit, LetsARequestAboveTheBoundIntoAnEmptyQueueOnly) {
  EXPECT_TRUE(AdmitRows(0, 8, 100).ok());
  EXPECT_FALSE(AdmitRows(1, 8, 100).ok());
}

TEST(Admit, DoesNotOverflowOnHugeRequests) {
  EXPECT_FALSE(AdmitRows(1, 8, std::numeric_limits<int64_t>::max()).ok());
  EXPECT_FALSE(AdmitRows(100, 8, std::numeric_limits<int64_t>::max()).ok());
}

TEST(Admit, RefusesARequestWhoseDeadlineHasPassed) {
  const AdmissionState state = {0, 8, false};
  EXPECT_TRUE(Admit(state, 1, kNow + std::chrono::nanoseconds(1), kNow).ok());
  const absl::Status late = absl::DeadlineExceededError(
      "the deadline had passed when the request arrived; nothing was computed");
  EXPECT_EQ(Admit(state, 1, kNow, kNow), late);
  EXPECT_EQ(Admit(state, 1, kNow - std::chrono::hours(1), kNow), late);
}

TEST(RetrySchedule, SendsThoseWhoWereRefusedBackOneAfterTheOther) {
  RetrySchedule schedule;
  const auto next = [&](Clock::time_point now) {
    return schedule
        .Next(now, std::chrono::milliseconds(40), std::chrono::milliseconds(8))
        .count();
  };
  EXPECT_EQ(next(kNow), 40);
  EXPECT_EQ(next(kNow), 48);
  EXPECT_EQ(next(kNow), 56);
  EXPECT_EQ(next(kNow + std::chrono::milliseconds(5)), 59) << "time goes by";
  EXPECT_EQ(next(kNow + std::chrono::seconds(1)), 40) << "all that is past";
}

TEST(RetrySchedule, IsBoundedAndSpreadsAlsoThoseBeyond) {
  RetrySchedule schedule;
  EXPECT_EQ(schedule.Next(kNow, {}, {}), std::chrono::milliseconds(1));
  EXPECT_EQ(schedule.Next(kNow, std::chrono::hours(1), {}),
            std::chrono::seconds(10));
  RetrySchedule crowded;
  std::map<int64_t, int> seen;
  for (int i = 0; i < 1000; ++i) {
    const auto delay = crowded.Next(kNow, std::chrono::milliseconds(1),
                                    std::chrono::milliseconds(200));
    EXPECT_LE(delay, std::chrono::seconds(10));
    ++seen[delay.count()];
  }
  for (const auto& [delay, count] : seen) EXPECT_LE(count, 50) << delay;
}

TEST(Admit, RefusesEverythingWhileStopping) {
  const absl::Status stopping =
      absl::UnavailableError("the server is shutting down");
  EXPECT_EQ(Admit({0, 8, true}, 1, kNever, kNow), stopping);
  // Stopping is said before anything else.
  EXPECT_EQ(Admit({8, 8, true}, 1, kNow, kNow), stopping);
}

TEST(Admit, SaysThatADeadlinePassedBeforeThatTheQueueIsFull) {
  EXPECT_EQ(Admit({8, 8, false}, 1, kNow, kNow).code(),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace fff::serving

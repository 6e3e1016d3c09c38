#include "server/benchmark/claims/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace fff::benchmark {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr ClaimSource kSource = {"a paper", "https://", "a machine", ""};

Claim ClaimOf(double published, ClaimKind kind = ClaimKind::kEvery) {
  Claim claim;
  claim.id = "claim";
  claim.source = &kSource;
  claim.published = published;
  claim.kind = kind;
  return claim;
}

// FFF takes one second, dense `speedup`.
ClaimPoint PointOf(double speedup, ClaimRun run = {"case", -1, 8, 1, false}) {
  BenchmarkCase one;
  one.rows = run.rows;
  one.fff.latency.median_s = one.fff.latency.min_s = 1;
  one.dense.latency.median_s = one.dense.latency.min_s = speedup;
  ClaimPoint point;
  point.run = std::move(run);
  point.record.report.cases = {one};
  return point;
}

VerdictKind KindOf(const Claim& claim, const std::vector<double>& speedups) {
  std::vector<ClaimPoint> points;
  for (const double speedup : speedups) points.push_back(PointOf(speedup));
  return Judge(claim, points, "").kind;
}

TEST(VerdictTest, HoldsWhenEveryRunReachesNineTenths) {
  EXPECT_EQ(KindOf(ClaimOf(100), {90, 500}), VerdictKind::kHolds);
  EXPECT_NE(KindOf(ClaimOf(100), {89, 500}), VerdictKind::kHolds);
  EXPECT_THAT(Judge(ClaimOf(100), {PointOf(95), PointOf(200)}, "").sentence,
              "Holds: 95.0x to 200x in 2 runs, published 100x.");
}

TEST(VerdictTest, HoldsPartlyWhenSomeRunDoes) {
  const Verdict verdict = Judge(
      ClaimOf(100), {PointOf(120), PointOf(3, {"case", -1, 8, 4, true})}, "");
  EXPECT_EQ(verdict.kind, VerdictKind::kHoldsPartly);
  EXPECT_EQ(verdict.sentence,
            "Holds partly: 1 of 2 runs reach the published 100x; the weakest "
            "is 3.00x (case, 8 rows, 4 threads, cold).");
}

TEST(VerdictTest, HoldsPartlyWhenAllReachHalf) {
  EXPECT_EQ(KindOf(ClaimOf(100), {50, 60}), VerdictKind::kHoldsPartly);
  EXPECT_EQ(KindOf(ClaimOf(100), {49, 60}), VerdictKind::kDoesNotHold);
}

TEST(VerdictTest, HalfOfASmallFigureIsNotEnoughOnTheOtherSideOfOne) {
  EXPECT_EQ(KindOf(ClaimOf(1.5), {1.2}), VerdictKind::kHoldsPartly);
  EXPECT_EQ(KindOf(ClaimOf(1.5), {0.9}), VerdictKind::kDoesNotHold);
}

TEST(VerdictTest, DoesNotHoldAndSaysWhoIsFaster) {
  const Verdict verdict = Judge(ClaimOf(2), {PointOf(0.5)}, "");
  EXPECT_EQ(verdict.kind, VerdictKind::kDoesNotHold);
  EXPECT_EQ(verdict.sentence,
            "Does not hold: 0.50x in 1 run, published 2.00x; the FFF is slower "
            "than dense here.");
}

TEST(VerdictTest, AClaimOfASlowerFffIsReadTheOtherWayRound) {
  EXPECT_EQ(KindOf(ClaimOf(0.1), {0.05}), VerdictKind::kHolds);
  EXPECT_EQ(KindOf(ClaimOf(0.1), {0.15}), VerdictKind::kHoldsPartly);
  EXPECT_EQ(KindOf(ClaimOf(0.1), {0.5}), VerdictKind::kDoesNotHold);
  EXPECT_THAT(Judge(ClaimOf(0.1), {PointOf(20)}, "").sentence,
              HasSubstr("the FFF is faster than dense here"));
}

TEST(VerdictTest, UpToIsJudgedByTheBestShapeOfEachSetting) {
  const std::vector<ClaimPoint> points = {
      PointOf(5, {"case", 1, 8, 1, false}),
      PointOf(250, {"case", 12, 8, 1, false})};
  EXPECT_EQ(Judge(ClaimOf(220, ClaimKind::kUpTo), points, "").kind,
            VerdictKind::kHolds);
  EXPECT_EQ(Judge(ClaimOf(220, ClaimKind::kEvery), points, "").kind,
            VerdictKind::kHoldsPartly);
  std::vector<ClaimPoint> cold_too = points;
  cold_too.push_back(PointOf(50, {"case", 12, 8, 1, true}));
  EXPECT_EQ(Judge(ClaimOf(220, ClaimKind::kUpTo), cold_too, "").kind,
            VerdictKind::kHoldsPartly);
  EXPECT_EQ(Judge(ClaimOf(220, ClaimKind::kUpTo), {PointOf(50)}, "").kind,
            VerdictKind::kDoesNotHold);
}

TEST(VerdictTest, ArithmeticIsCountedNotTimed) {
  ClaimPoint point = PointOf(7);
  point.record.report.dense_flops_per_row = 4095;
  point.record.report.fff_flops_per_row = 12;
  const Claim claim = ClaimOf(341.25, ClaimKind::kArithmetic);
  const Verdict verdict = Judge(claim, {point}, "");
  EXPECT_EQ(verdict.kind, VerdictKind::kArithmeticOnly);
  EXPECT_THAT(verdict.sentence,
              AllOf(HasSubstr("341x"), HasSubstr("measured 7.00x")));
  point.record.report.fff_flops_per_row = 14;
  EXPECT_EQ(Judge(claim, {point}, "").kind, VerdictKind::kDoesNotHold);
  point.record.report.fff_flops_per_row = 0;
  point.record.report.dense_flops_per_row = 0;
  EXPECT_EQ(Judge(claim, {point}, "").kind, VerdictKind::kDoesNotHold);
}

TEST(VerdictTest, NotRunHereSaysWhy) {
  Claim elsewhere = ClaimOf(118, ClaimKind::kElsewhere);
  elsewhere.reason = "it is of a GPU";
  EXPECT_EQ(Judge(elsewhere, {}, "").sentence, "Not run here: it is of a GPU.");
  const Verdict no_room = Judge(ClaimOf(2), {}, "8 GB wanted, 4 free");
  EXPECT_EQ(no_room.kind, VerdictKind::kNotRunHere);
  EXPECT_THAT(no_room.sentence, HasSubstr("8 GB wanted"));
}

TEST(VerdictTest, SentencesBeginWithTheKind) {
  EXPECT_THAT(Judge(ClaimOf(2), {PointOf(1.2)}, "").sentence,
              StartsWith("Holds partly"));
  EXPECT_EQ(Name(VerdictKind::kHoldsPartly), "holds partly");
}

// Of a disturbed run; FFF takes 0.1 ms, dense at least 0.3 ms.
ClaimPoint DisturbedPoint(int threads) {
  ClaimPoint point = PointOf(10, {"case", -1, 8, threads, false});
  BenchmarkCase& one = point.record.report.cases[0];
  one.fff.latency.median_s = one.fff.latency.min_s = 1e-4;
  one.dense.latency.median_s = 1e-3;
  one.dense.latency.min_s = 3e-4;
  point.record.waited_share = 0.11;
  return point;
}

// Else interruptions, which hit long calls more often, would count for the FFF.
TEST(VerdictTest, DisturbedRunsOfShortCallsCompareLeastTimes) {
  ClaimPoint point = DisturbedPoint(1);
  EXPECT_TRUE(point.disturbed());
  EXPECT_DOUBLE_EQ(point.speedup(), 3);
  EXPECT_EQ(Judge(ClaimOf(10), {point}, "").kind, VerdictKind::kDoesNotHold);
  point.record.waited_share = 0.1;
  EXPECT_FALSE(point.disturbed());
  EXPECT_DOUBLE_EQ(point.speedup(), 10);
  EXPECT_EQ(Judge(ClaimOf(10), {point}, "").kind, VerdictKind::kHolds);
}

TEST(VerdictTest, DisturbedRunsOfSeveralThreadsOrLongCallsAreNotJudged) {
  ClaimPoint threads = DisturbedPoint(2);
  ClaimPoint slow = DisturbedPoint(1);
  slow.record.report.cases[0].dense.latency.min_s = 1;
  for (ClaimPoint* disturbed : {&threads, &slow}) {
    for (const ClaimKind kind : {ClaimKind::kEvery, ClaimKind::kUpTo}) {
      const Claim claim = ClaimOf(8, kind);
      const Verdict beside = Judge(claim, {PointOf(2), *disturbed}, "");
      EXPECT_EQ(beside.kind, VerdictKind::kDoesNotHold);
      EXPECT_THAT(beside.sentence, HasSubstr("not judged: 1 run."));
      const Verdict held = Judge(claim, {PointOf(9), *disturbed}, "");
      EXPECT_EQ(held.kind, VerdictKind::kHoldsPartly);
      EXPECT_THAT(held.sentence, StartsWith("Holds partly: "));
      const Verdict alone = Judge(claim, {*disturbed}, "");
      EXPECT_EQ(alone.kind, VerdictKind::kNotRunHere);
      EXPECT_THAT(alone.sentence, HasSubstr("disturbed every run"));
    }
    disturbed->record.waited_share = 0;
    EXPECT_EQ(Judge(ClaimOf(8), {*disturbed}, "").kind, VerdictKind::kHolds);
  }
}

TEST(TimeBoundTest, IsTheLargerOfBytesAndOperations) {
  ClaimPoint point = PointOf(10);
  EXPECT_EQ(BoundOf(point).seconds, 0) << "not probed";
  EXPECT_EQ(DenseStrength(point), 0);
  BenchmarkReport& report = point.record.report;
  report.memory_gbps = 10;
  report.peak_gflops = 100;
  report.fff_flops_per_row = 1e9;         // of 8 rows: 80 ms
  report.cases[0].fff.least_bytes = 5e9;  // 500 ms
  report.cases[0].dense.gflops = 50;
  report.cases[0].dense.gbps = 9;
  EXPECT_TRUE(BoundOf(point).memory);
  EXPECT_DOUBLE_EQ(BoundOf(point).seconds, 0.5);
  EXPECT_DOUBLE_EQ(BoundOf(point).reached, 0.5);
  EXPECT_DOUBLE_EQ(DenseStrength(point), 0.9);
  report.cases[0].fff.least_bytes = 1e8;
  EXPECT_FALSE(BoundOf(point).memory);
  EXPECT_DOUBLE_EQ(BoundOf(point).seconds, 0.08);
}

}  // namespace
}  // namespace fff::benchmark

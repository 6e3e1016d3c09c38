#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "server/benchmark/own_data/advice.h"
#include "server/benchmark/own_data/data_report.h"
#include "server/benchmark/own_data/scores.h"

namespace fff::benchmark {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ScoresTest, AShareHasWilsonsInterval) {
  const Interval share = ShareRight(8, 10);
  EXPECT_DOUBLE_EQ(share.value, 0.8);
  EXPECT_NEAR(share.low, 0.4902, 1e-4);
  EXPECT_NEAR(share.high, 0.9433, 1e-4);
  EXPECT_NEAR(ShareRight(10, 10).high, 1, 1e-9);
  EXPECT_LT(ShareRight(10, 10).low, 0.75) << "ten right answers prove little";
}

// `wrong` answers at the front, of `answers`.
Losses Wrong(int64_t wrong, int64_t answers, int64_t from = 0) {
  Losses losses(static_cast<size_t>(answers), 0);
  for (int64_t i = 0; i < wrong; ++i) {
    losses[static_cast<size_t>(from + i)] = 1;
  }
  return losses;
}

TEST(ScoresTest, PairedDifferencesCountWhereTheSidesDiffer) {
  // 10 answers are wrong in a alone, 4 in b alone, of 100.
  const Losses a = Wrong(10, 100);
  const Losses b = Wrong(4, 100, 50);
  const Interval more = MoreWrong(a, b);
  EXPECT_DOUBLE_EQ(more.value, 0.06);
  EXPECT_NEAR(more.low, -0.0147, 1e-4);
  EXPECT_NEAR(more.high, 0.1324, 1e-4);
  // The same shares where the wrong ones are shared: far more certain.
  const Interval nested = MoreWrong(Wrong(10, 100), Wrong(4, 100));
  EXPECT_DOUBLE_EQ(nested.value, 0.06);
  EXPECT_GT(nested.low, 0);
}

TEST(ScoresTest, EqualAnswersDifferByNothing) {
  const Interval none = MoreWrong(Wrong(3, 40), Wrong(3, 40));
  EXPECT_EQ(none.value, 0);
  EXPECT_LT(none.low, 0);
  EXPECT_GT(none.high, 0);
}

TEST(ScoresTest, OneNumberHasNoInterval) {
  const Interval mean = MeanLoss(Losses{4});
  EXPECT_EQ(mean.value, 4);
  EXPECT_TRUE(std::isinf(mean.low) && std::isinf(mean.high));
  const Interval more = MoreLoss(Losses{3, 3, 3}, Losses{1, 1, 1});
  EXPECT_EQ(more.value, 2);
  EXPECT_EQ(more.low, 2);
}

Measurement Timed(double median_s, double spread = 0.05) {
  Measurement measured;
  measured.latency = {50,
                      median_s,
                      median_s * (1 - spread),
                      median_s * (1 + spread),
                      median_s * (1 + 2 * spread),
                      median_s * (1 - spread),
                      median_s};
  measured.kernel = "a_kernel";
  return measured;
}

BenchmarkCase TimedCase(int64_t rows, double fff_s, double dense_s) {
  BenchmarkCase one;
  one.rows = rows;
  one.fff = Timed(fff_s);
  one.dense = Timed(dense_s);
  one.input_rows = 512;
  one.leaves = 16;
  one.distinct_leaves = 12;
  one.top_leaf_share = 0.25;
  return one;
}

// Of 1,000 answers the FFF has `fff` wrong and dense `dense`, where they are
// nested.
DataReport OwnSample(int64_t fff, int64_t dense) {
  DataReport report;
  report.data = "rows.npy";
  report.rows = 1000;
  report.truth = TruthKind::kClasses;
  report.candidates = {{"FFF", 0, Wrong(fff, 1000)},
                       {"dense", 0, Wrong(dense, 1000)}};
  report.classes = {{0, "cat", 400, {380, 390}}, {1, "dog", 600, {500, 560}}};
  report.latency.model = "m";
  report.latency.version = 2;
  report.latency.dense_description = "a dense network";
  report.latency.cases = {TimedCase(1, 1e-6, 4e-6), TimedCase(16, 10e-6, 40e-6),
                          TimedCase(256, 300e-6, 200e-6)};
  return report;
}

TEST(AdviceTest, TheFastestThatIsNotMeasurablyWorseByBatchSize) {
  const std::vector<Advice> advice = Advise(OwnSample(100, 98));
  ASSERT_EQ(advice.size(), 2U);
  EXPECT_EQ(advice[0].rows_min, 1);
  EXPECT_EQ(advice[0].rows_max, 16);
  EXPECT_EQ(advice[0].choice, 0U);
  EXPECT_THAT(advice[0].sentence,
              AllOf(StartsWith("the FFF; 4.00x faster than dense"),
                    HasSubstr("not measurably worse: 0.20 points")));
  EXPECT_EQ(advice[1].rows_min, 256);
  EXPECT_EQ(advice[1].choice, 1U);
  EXPECT_EQ(advice[1].sentence,
            "dense; 1.50x faster than the FFF, and no less accurate");
  EXPECT_THAT(AdviceText(advice), HasSubstr("rows 1 to 16: the FFF; 4.00x"));
  EXPECT_THAT(AdviceText(advice), HasSubstr("\nrows 256: dense; "));
}

TEST(AdviceTest, SaysWhatAFasterOneWouldLose) {
  const std::vector<Advice> advice = Advise(OwnSample(120, 80));
  ASSERT_EQ(advice.size(), 2U);
  EXPECT_EQ(advice[0].choice, 1U);
  EXPECT_THAT(advice[0].sentence,
              HasSubstr("dense; the FFF is 4.00x faster, but 4.00 points less "
                        "accurate (95 %: "));
  EXPECT_EQ(advice[1].choice, 1U);
  EXPECT_THAT(
      advice[1].sentence,
      HasSubstr("1.50x faster than the FFF, which is 4.00 points less"));
}

TEST(AdviceTest, NothingFromADifferenceWithinTheSpread) {
  DataReport report = OwnSample(100, 98);
  report.latency.cases = {TimedCase(1, 1.00e-6, 1.04e-6)};
  const std::vector<Advice> advice = Advise(report);
  ASSERT_EQ(advice.size(), 1U);
  EXPECT_FALSE(advice[0].choice.has_value());
  EXPECT_THAT(advice[0].sentence, HasSubstr("as fast and as good"));
  // As fast, but measurably better: that one.
  report.candidates[0].losses = Wrong(150, 1000);
  EXPECT_EQ(Advise(report)[0].choice, 1U);
  EXPECT_THAT(Advise(report)[0].sentence,
              HasSubstr("as fast within the spread as the FFF, which is 5.20"));
}

TEST(AdviceTest, NothingFromFewRows) {
  DataReport report = OwnSample(100, 98);
  report.candidates[0].losses = Wrong(3, 20);
  report.candidates[1].losses = Wrong(2, 20, 10);
  const std::vector<Advice> advice = Advise(report);
  ASSERT_EQ(advice.size(), 2U);
  EXPECT_FALSE(advice[0].choice.has_value());
  EXPECT_THAT(advice[0].sentence,
              HasSubstr("so few answers do not tell what the FFF loses against "
                        "dense, of which it is 4.00x as fast: 5.00 points"));
  EXPECT_FALSE(advice[1].choice.has_value())
      << "the fastest is the best, of 20 answers";
  EXPECT_THAT(advice[1].sentence,
              HasSubstr("what dense loses against the FFF"));
}

TEST(AdviceTest, NothingFromADisturbedMeasurement) {
  DataReport report = OwnSample(100, 98);
  report.latency.cases[0].waited_share = 0.3;
  const std::vector<Advice> advice = Advise(report);
  ASSERT_EQ(advice.size(), 3U);
  EXPECT_FALSE(advice[0].choice.has_value());
  EXPECT_THAT(advice[0].sentence, HasSubstr("disturbed"));
  EXPECT_EQ(advice[1].choice, 0U);
  EXPECT_THAT(DataText(report, false), HasSubstr("! 1 row: disturbed"));
}

TEST(AdviceTest, NothingWithoutASecondCandidateOrWithoutTruth) {
  DataReport report = OwnSample(100, 98);
  report.candidates[1].losses.clear();
  EXPECT_FALSE(Advise(report)[0].choice.has_value());
  EXPECT_THAT(Advise(report)[0].sentence, HasSubstr("only one candidate"));
  report.truth = TruthKind::kNone;
  EXPECT_TRUE(Advise(report).empty());
}

TEST(AdviceTest, AnotherVersionMayBeTheAnswer) {
  DataReport report = OwnSample(120, 80);
  report.candidates.push_back({"version 1", 1, Wrong(82, 1000)});
  for (BenchmarkCase& one : report.latency.cases) {
    one.other_baselines = {Timed(one.fff.latency.median_s * 1.5)};
  }
  const std::vector<Advice> advice = Advise(report);
  EXPECT_EQ(advice[0].choice, 2U);
  EXPECT_THAT(advice[0].sentence,
              HasSubstr("version 1's FFF; the FFF is 1.50x faster, but 3.80"));
}

DataReport OfNumbers(double fff, double dense) {
  DataReport report = OwnSample(1, 1);
  report.truth = TruthKind::kNumbers;
  report.classes.clear();
  for (size_t at = 0; at < 2; ++at) {
    const double mean = at == 0 ? fff : dense;
    report.candidates[at].losses.clear();
    for (int i = 0; i < 500; ++i) {
      report.candidates[at].losses.push_back(mean * (i % 2 == 0 ? 0.9 : 1.1));
    }
  }
  return report;
}

TEST(AdviceTest, NumbersAreComparedByTheirMeanSquareError) {
  const DataReport report = OfNumbers(0.05, 0.04);
  EXPECT_NEAR(report.Quality(0).value, std::sqrt(0.05), 1e-9);
  EXPECT_EQ(report.Best(), 1U);
  EXPECT_THAT(Advise(report)[0].sentence,
              HasSubstr("but 25.0 % worse in mean square error (95 %: "));
  EXPECT_THAT(DataText(report, true), HasSubstr("RMS error"));
}

TEST(DataTextTest, SaysWhatWasMeasuredOnWhichRows) {
  const std::string text = DataText(OwnSample(120, 80), true);
  EXPECT_THAT(text,
              HasSubstr("m, version 2, on 1000 rows of rows.npy, 512 of them"));
  EXPECT_THAT(text, HasSubstr("88.00%"));
  EXPECT_THAT(text, HasSubstr("4.00 points less ("));
  EXPECT_THAT(text, HasSubstr("reach 12 of 16 leaves (75 %)"));
  EXPECT_THAT(text, HasSubstr("dog"));
  EXPECT_THAT(text, HasSubstr("-10.0"));
  EXPECT_THAT(text, HasSubstr("rows 1 to 16: dense;"));
  EXPECT_THAT(DataText(OwnSample(120, 80), false),
              Not(HasSubstr("rows 1 to 16")));
}

TEST(DataTextTest, AnUntrainedTwinHasNoAccuracy) {
  DataReport report = OwnSample(120, 80);
  report.candidates[1].losses.clear();
  const std::string text = DataText(report, false);
  EXPECT_THAT(text, HasSubstr("not trained: shows cost alone"));
  EXPECT_THAT(text, Not(HasSubstr("dog")));
}

TEST(DataTextTest, NamesOfAPeerDoNotReachTheTerminalAsControl) {
  DataReport report = OwnSample(120, 80);
  report.data = report.latency.model = report.latency.cpu_model =
      report.classes[0].label = report.versions_left_out = "a\x1b[2J";
  EXPECT_THAT(DataText(report, true), Not(HasSubstr("\x1b")));
}

TEST(DataJsonTest, HoldsCandidatesClassesAdviceAndLatency) {
  const auto json = nlohmann::json::parse(DataJson(OwnSample(120, 80)));
  EXPECT_EQ(json["truth"], "classes");
  EXPECT_EQ(json["data_rows"], 1000);
  const auto& fff = json["candidates"][0];
  EXPECT_EQ(fff["name"], "FFF");
  EXPECT_EQ(fff["version"], 2);
  EXPECT_DOUBLE_EQ(fff["accuracy"]["value"], 0.88);
  EXPECT_DOUBLE_EQ(fff["worse_than_best"]["value"], 0.04);
  EXPECT_GT(fff["worse_than_best"]["low"], 0);
  EXPECT_TRUE(json["candidates"][1]["best"]);
  EXPECT_EQ(json["classes"][1]["right"]["dense"], 560);
  EXPECT_EQ(json["advice"][0]["choice"], "dense");
  EXPECT_EQ(json["latency"]["cases"][0]["leaves"], 16);
}

TEST(DataJsonTest, AnIntervalWithoutEndsIsNull) {
  DataReport report = OfNumbers(1, 1);
  for (Candidate& candidate : report.candidates) candidate.losses = {1};
  const auto json = nlohmann::json::parse(DataJson(report));
  EXPECT_TRUE(json["candidates"][0]["rms_error"]["high"].is_null());
  EXPECT_TRUE(json["advice"][0]["choice"].is_null());
}

TEST(DataSvgTest, DrawsAPointForEveryCandidateAndBatchSize) {
  DataReport report = OwnSample(120, 80);
  report.candidates.push_back({"version 1", 1, Wrong(82, 1000)});
  for (BenchmarkCase& one : report.latency.cases) {
    one.other_baselines = {Timed(5e-6)};
  }
  report.data = "/a/long/path/</text><script>\"&";
  const std::string svg = DataSvg(report);
  EXPECT_THAT(svg, AllOf(StartsWith("<svg "), HasSubstr("</svg>\n")));
  const auto count = [&](const std::string& part) {
    int found = 0;
    for (size_t at = svg.find(part); at != std::string::npos;
         at = svg.find(part, at + 1)) {
      ++found;
    }
    return found;
  };
  EXPECT_EQ(count("<circle"), 3 + 1) << "three points and the legend's";
  EXPECT_EQ(count("class=\"otherdot\""), 3 + 1);
  EXPECT_THAT(svg, HasSubstr(">version 1<"));
  EXPECT_THAT(svg, HasSubstr("m on 1000 rows of text&gt;&lt;script"))
      << "without its folders";
  EXPECT_THAT(svg, HasSubstr("accuracy with 95 % interval"));
  EXPECT_THAT(svg, AllOf(Not(HasSubstr("<script>")), Not(HasSubstr("nan")),
                         Not(HasSubstr("inf,"))));
}

TEST(DataSvgTest, WithoutTruthTimesStandByBatchSize) {
  DataReport report = OwnSample(1, 1);
  for (Candidate& candidate : report.candidates) candidate.losses.clear();
  EXPECT_THAT(DataSvg(report), HasSubstr("time of one call by batch size"));
}

TEST(DataSvgTest, SenselessTimesStillDraw) {
  DataReport report = OfNumbers(1, 1);
  report.latency.cases[0].rows = 0;
  report.latency.cases[1].fff.latency = {};
  for (Candidate& candidate : report.candidates) candidate.losses = {0};
  EXPECT_THAT(DataSvg(report), AllOf(HasSubstr("</svg>"), Not(HasSubstr("nan")),
                                     Not(HasSubstr("inf,"))));
}

}  // namespace
}  // namespace fff::benchmark

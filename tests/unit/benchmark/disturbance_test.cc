#include "server/benchmark/disturbance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"
#include "server/benchmark/report_json.h"
#include "server/benchmark/report_parse.h"
#include "server/benchmark/report_text.h"

namespace fff::benchmark {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

BenchmarkReport Waited(double waited_share, double dense_s = 40e-6) {
  BenchmarkReport report;
  report.model = "m";
  BenchmarkCase one;
  one.rows = 16;
  one.fff.latency.median_s = 10e-6;
  one.fff.latency.min_s = 8e-6;
  one.dense.latency.median_s = dense_s;
  one.dense.latency.min_s = dense_s * 0.6;
  one.waited_share = waited_share;
  one.leaves = 8;
  report.cases = {one};
  return report;
}

TEST(WaitWatchTest, AShareOfTimeThatHasJustBegun) {
  const WaitWatch watch;
  EXPECT_GE(watch.Share(), 0);
  EXPECT_LE(watch.Share(), 1);
}

TEST(DisturbanceTest, QuietMeasurementsCountByTheirMedians) {
  const BenchmarkReport report = Waited(0.05);
  const BenchmarkCase& one = report.cases[0];
  EXPECT_FALSE(Disturbed(one));
  EXPECT_TRUE(Judged(one, 8));
  EXPECT_EQ(SecondsOf(one, one.fff), 10e-6);
  EXPECT_EQ(DisturbanceText(report), "");
  EXPECT_THAT(ReportText(report), Not(HasSubstr("disturbed")));
}

TEST(DisturbanceTest, DisturbedOnesByTheirLeastTimesIfCallsAreShort) {
  BenchmarkReport report = Waited(0.3);
  const BenchmarkCase& one = report.cases[0];
  EXPECT_TRUE(Disturbed(one));
  EXPECT_TRUE(Judged(one, 1));
  EXPECT_FALSE(Judged(one, 2));
  EXPECT_EQ(SecondsOf(one, one.fff), 8e-6);
  EXPECT_THAT(ReportText(report),
              HasSubstr("! 16 rows: disturbed, other processes had the "
                        "processor for 30 % of the time; medians flatter the "
                        "FFF, least times say 3.00x"));
  report = Waited(0.3, 0.5);
  EXPECT_THAT(ReportText(report), HasSubstr("these times say nothing"));
}

TEST(DisturbanceTest, JsonKeepsTheShare) {
  const std::string text = ReportJson(Waited(0.3));
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["cases"][0]["waited_share"], 0.3);
  EXPECT_TRUE(json["cases"][0]["disturbed"]);
  const auto read = ParseReport(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->cases[0].waited_share, 0.3);
  EXPECT_EQ(read->cases[0].leaves, 8);
  EXPECT_EQ(ReportJson(*read), text);
}

TEST(DisturbanceTest, ReportsOfEarlierVersionsSayNothingOfIt) {
  auto json = nlohmann::json::parse(ReportJson(Waited(0.3)));
  for (const char* key : {"waited_share", "disturbed", "leaves"}) {
    json["cases"][0].erase(key);
  }
  json.erase("own_rows");
  const auto read = ParseReport(json.dump());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->cases[0].waited_share, 0);
}

}  // namespace
}  // namespace fff::benchmark

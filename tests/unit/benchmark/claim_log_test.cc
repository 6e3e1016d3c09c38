#include "server/benchmark/claims/claim_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_replace.h"
#include "server/benchmark/case.h"
#include "server/benchmark/case_models.h"
#include "server/benchmark/report_json.h"
#include "server/benchmark/report_parse.h"
#include "server/benchmark/runner.h"

namespace fff::benchmark {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const ClaimLogKey kKey = {"0.1.0", "a processor", 0.1, 1};
const ClaimRun kRun = {"tiny", -1, 16, 1, false};
const ClaimRun kOther = {"tiny", -1, 1, 1, false};

BenchmarkReport MeasuredTiny() {
  const CaseModels models = *BuildCaseModels(*FindCase("tiny"), 1, {});
  BenchmarkOptions options;
  options.batch_rows = {16};
  options.seconds_per_case = 0.001;
  options.probe_machine = false;
  return *RunBenchmark(*models.fff, models.dense, options, nullptr);
}

TEST(ParseReportTest, ReadsWhatReportJsonWrites) {
  BenchmarkReport report = MeasuredTiny();
  report.accuracy.fff = 0.88;
  report.cases[0].fff.layers.push_back({"linear", 2, true, 0.5});
  const std::string json = ReportJson(report);
  const auto parsed = ParseReport(json);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(ReportJson(*parsed), json);
  EXPECT_EQ(parsed->other_baselines.size(), report.other_baselines.size());
}

TEST(ParseReportTest, SaysWhatIsMissingOrUnknown) {
  const std::string json = ReportJson(MeasuredTiny());
  EXPECT_THAT(std::string(ParseReport("{").status().message()),
              HasSubstr("no benchmark report"));
  const std::string missing =
      absl::StrReplaceAll(json, {{"\"p90_s\"", "\"other\""}});
  EXPECT_THAT(std::string(ParseReport(missing).status().message()),
              HasSubstr("p90_s"));
  const std::string unknown = absl::StrReplaceAll(
      json, {{"\"dense_kind\": \"neurons\"", "\"dense_kind\": \"best\""}});
  EXPECT_THAT(std::string(ParseReport(unknown).status().message()),
              HasSubstr("'best'"));
}

class ClaimLogTest : public ::testing::Test {
 protected:
  std::string Line(const ClaimRun& run) {
    return ClaimLogLine(run, kKey, {report_, 0.25});
  }
  absl::Status Error(const std::string& text) {
    return ParseClaimLog(text, kKey).status();
  }
  const BenchmarkReport report_ = MeasuredTiny();
};

TEST_F(ClaimLogTest, KeepsEveryFigure) {
  const std::string text = Line(kRun) + Line(kOther);
  const auto log = ParseClaimLog(text, kKey);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_THAT(log->records, SizeIs(2));
  const RunRecord& record = log->records.at(kRun.Name());
  EXPECT_EQ(ReportJson(record.report), ReportJson(report_));
  EXPECT_EQ(record.waited_share, 0.25);
  EXPECT_EQ(log->bytes, text.size());
}

TEST_F(ClaimLogTest, PassesOverWhatAKilledRunLeft) {
  const std::string whole = Line(kRun);
  const auto log = ParseClaimLog(whole + whole.substr(0, 100), kKey);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->records, SizeIs(1));
  EXPECT_EQ(log->bytes, whole.size()) << "what to cut the file to";
  EXPECT_THAT(ParseClaimLog("", kKey)->records, SizeIs(0));
}

TEST_F(ClaimLogTest, RefusesRunsOfAnotherMachineVersionTimeOrSeed) {
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{"a processor", "another"},
        {"\"version\":\"0.1.0\"", "\"version\":\"0.2.0\""},
        {"\"seconds\":0.1", "\"seconds\":0.5"},
        {"\"seed\":1,\"waited_share\"", "\"seed\":2,\"waited_share\""}}) {
    const std::string changed = absl::StrReplaceAll(Line(kOther), {{from, to}});
    ASSERT_NE(changed, Line(kOther)) << from;
    const absl::Status error = Error(Line(kRun) + changed);
    EXPECT_TRUE(absl::IsInvalidArgument(error)) << from;
    EXPECT_THAT(std::string(error.message()),
                AllOf(HasSubstr("line 2"), HasSubstr("wanted")));
  }
}

TEST_F(ClaimLogTest, KeepsTheLessDisturbedOfTwo) {
  for (const auto& [first, second] :
       {std::pair<double, double>{0.5, 0.02}, {0.02, 0.5}}) {
    const auto log =
        ParseClaimLog(ClaimLogLine(kRun, kKey, {report_, first}) +
                          ClaimLogLine(kRun, kKey, {report_, second}),
                      kKey);
    ASSERT_TRUE(log.ok()) << log.status();
    ASSERT_THAT(log->records, SizeIs(1));
    EXPECT_EQ(log->records.begin()->second.waited_share, 0.02);
    EXPECT_FALSE(log->records.begin()->second.disturbed());
  }
}

TEST_F(ClaimLogTest, RefusesDamagedLines) {
  EXPECT_THAT(std::string(Error("no JSON\n").message()),
              AllOf(HasSubstr("line 1"), HasSubstr("got no run")));
  EXPECT_THAT(std::string(Error("{\"run\": \"x\"}\n").message()),
              HasSubstr("wanted"));
  BenchmarkReport empty = report_;
  empty.cases.clear();
  EXPECT_THAT(
      std::string(Error(ClaimLogLine(kRun, kKey, {empty, 0})).message()),
      HasSubstr("0 cases"));
}

}  // namespace
}  // namespace fff::benchmark

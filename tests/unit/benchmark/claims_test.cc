#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/benchmark/case.h"
#include "server/benchmark/claims/claim.h"
#include "server/benchmark/claims/claims_report.h"
#include "server/benchmark/runner.h"

namespace fff::benchmark {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const Claim& Named(const std::vector<Claim>& claims, absl::string_view id) {
  for (const Claim& claim : claims) {
    if (claim.id == id) return claim;
  }
  ADD_FAILURE() << id;
  return claims.front();
}

TEST(ClaimTableTest, EveryClaimHasSourceAndPublishedFigure) {
  std::set<std::string> ids;
  for (const Claim& claim : Claims()) {
    SCOPED_TRACE(claim.id);
    EXPECT_TRUE(ids.insert(claim.id).second) << "twice";
    EXPECT_THAT(claim.text, Not(IsEmpty()));
    EXPECT_GT(claim.published, 0);
    ASSERT_NE(claim.source, nullptr);
    EXPECT_THAT(claim.source->name, Not(IsEmpty()));
    EXPECT_THAT(claim.source->url, HasSubstr("https://"));
    EXPECT_THAT(claim.source->conditions, Not(IsEmpty()));
    EXPECT_EQ(claim.id.find_first_of(", "), std::string::npos)
        << "ids are listed with commas";
  }
  EXPECT_GE(ids.size(), 50U);
}

TEST(ClaimTableTest, EveryClaimRunsACaseOrSaysWhyNot) {
  for (const Claim& claim : Claims()) {
    SCOPED_TRACE(claim.id);
    const bool elsewhere = claim.kind == ClaimKind::kElsewhere;
    EXPECT_EQ(claim.shapes.empty(), elsewhere);
    EXPECT_EQ(claim.reason.empty(), !elsewhere);
    for (const ClaimShape& shape : claim.shapes) {
      const absl::StatusOr<CaseSpec> spec = FindCase(shape.case_name);
      ASSERT_TRUE(spec.ok()) << spec.status();
      if (shape.depth >= 0) {
        const auto deeper = WithDepth(*spec, shape.depth);
        EXPECT_TRUE(deeper.ok()) << deeper.status();
      }
      EXPECT_GE(shape.rows, shape.quick_rows);
      BenchmarkOptions options;
      options.batch_rows = {shape.rows};
      EXPECT_TRUE(CheckOptions(options).ok());
    }
  }
}

// Else the figures would be of a network that the claim does not compare with.
TEST(ClaimTableTest, CasesHaveTheWidthsThatTheClaimsName) {
  const std::vector<Claim> claims = Claims();
  const auto spec_of = [&claims](absl::string_view id) {
    return *FindCase(Named(claims, id).shapes.front().case_name);
  };
  for (const int width : {16, 128}) {
    for (const int leaf : {8, 4, 2, 1}) {
      const CaseSpec spec =
          spec_of(absl::StrCat("table1-mnist-w", width, "-l", leaf));
      EXPECT_EQ(spec.leaf_width << spec.depth, width);
      EXPECT_EQ(spec.leaf_width, leaf);
      EXPECT_EQ(spec.dense, DenseOpponent::kNeurons);
    }
  }
  const CaseSpec vit = spec_of("table3-vit-l2");
  EXPECT_EQ(vit.leaf_width << vit.depth, 128);
  EXPECT_EQ(spec_of("paper2-cpu-78x").nodes(), 4095);
  const CaseSpec rerun = spec_of("sap-paper2-batch10");
  EXPECT_EQ(rerun.dense_width, 4000);
  EXPECT_EQ(rerun.nodes(), 511);
  EXPECT_EQ(spec_of("sap-readme-20x").dense, DenseOpponent::kLinear);
  const ClaimShape fast_ffn = Named(claims, "fast-ffn-20x").shapes.front();
  const auto deeper = WithDepth(*FindCase(fast_ffn.case_name), fast_ffn.depth);
  EXPECT_EQ(deeper->nodes(), 8191);
}

TEST(ClaimRunTest, FullRunsAreOneThreadAndAllWarmAndCold) {
  const std::vector<Claim> claims = Claims();
  const Claim& claim = Named(claims, "paper2-cpu-78x");
  const std::vector<ClaimRun> runs = RunsOf(claim, {false, 16});
  ASSERT_THAT(runs, SizeIs(4));
  EXPECT_EQ(runs[0].Name(), "path-768-l12, 16384 rows, 1 thread, warm");
  EXPECT_EQ(runs[1].Name(), "path-768-l12, 16384 rows, 1 thread, cold");
  EXPECT_EQ(runs[2].Name(), "path-768-l12, 16384 rows, 16 threads, warm");
  EXPECT_EQ(runs[3].Name(), "path-768-l12, 16384 rows, 16 threads, cold");
  EXPECT_THAT(RunsOf(claim, {false, 1}), SizeIs(2)) << "all threads are one";
}

TEST(ClaimRunTest, QuickRunsAreFewerAndSmaller) {
  const std::vector<Claim> claims = Claims();
  EXPECT_THAT(RunsOf(Named(claims, "paper2-cpu-78x"), {true, 16}), SizeIs(1));
  const Claim& large = Named(claims, "fast-ffn-20x");
  EXPECT_EQ(RunsOf(large, {true, 16}).front().rows, 2048);
  EXPECT_EQ(RunsOf(large, {false, 16}).front().rows, 32764);
  const Claim& blocks = Named(claims, "figures3-4-220x");
  EXPECT_LT(RunsOf(blocks, {true, 1}).size() * 2,
            RunsOf(blocks, {false, 1}).size());
}

TEST(ClaimRunTest, RunsThatClaimsShareAreMeasuredOnce) {
  const std::vector<Claim> claims = Claims();
  const std::vector<ClaimRun> runs = AllRuns(claims, {false, 2});
  std::set<std::string> names;
  std::set<std::string> built;
  std::string last;
  for (const ClaimRun& run : runs) {
    EXPECT_TRUE(names.insert(run.Name()).second) << run.Name();
    const std::string models = absl::StrCat(run.case_name, " ", run.depth);
    if (models != last) {
      EXPECT_TRUE(built.insert(models).second) << "built again";
    }
    last = models;
  }
}

TEST(ChooseClaimsTest, FiltersAndListsWhatThereIs) {
  const auto chosen = ChooseClaims({"sap-readme-20x", "table1-usps-w16-l8"});
  ASSERT_TRUE(chosen.ok());
  ASSERT_THAT(*chosen, SizeIs(2));
  EXPECT_EQ(chosen->front().id, "table1-usps-w16-l8") << "in the table's order";
  EXPECT_THAT(*ChooseClaims({}), SizeIs(Claims().size()));
  const auto unknown = ChooseClaims({"42x"});
  EXPECT_TRUE(absl::IsNotFound(unknown.status()));
  EXPECT_THAT(std::string(unknown.status().message()),
              AllOf(HasSubstr("'42x'"), HasSubstr("paper2-cpu-78x")));
}

RunRecord Record(double fff_s, double dense_s, double waited_share) {
  RunRecord record;
  BenchmarkCase one;
  one.rows = 16384;
  one.fff.latency = {5, fff_s, fff_s, fff_s, fff_s, fff_s / 2, fff_s};
  one.dense.latency = {5, dense_s, dense_s, dense_s, dense_s, dense_s, dense_s};
  one.other_baselines.push_back(one.dense);
  record.report.cases = {one};
  record.report.other_baselines = {
      {BaselineKind::kInferenceWidth, "12 neurons", 1, 1}};
  record.waited_share = waited_share;
  return record;
}

ClaimsReport Sample() {
  ClaimsReport report;
  report.version = "1.2.3";
  report.cpu_model = "a <processor>";
  report.threads_all = 2;
  const std::vector<Claim> claims =
      *ChooseClaims({"paper2-cpu-78x", "paper2-cpu-255x", "paper2-cuda-118x"});
  for (const Claim& claim : claims) {
    ClaimResult result;
    result.claim = claim;
    for (const ClaimRun& run : RunsOf(claim, {false, 1})) {
      result.points.push_back({run, Record(1e-3, 0.1, run.cold ? 0.5 : 0)});
    }
    result.verdict = Judge(claim, result.points, "");
    report.results.push_back(result);
  }
  return report;
}

TEST(ClaimsReportTest, TextHasClaimSourceFlawsFiguresAndVerdict) {
  const std::string text = ClaimsText(Sample());
  EXPECT_THAT(
      text,
      AllOf(HasSubstr("Exponentially Faster Language Modelling, CPU"),
            HasSubstr("Conditions: i7-6700HQ"),
            HasSubstr("Known flaws: benchmark_cpu"), HasSubstr("78.0x"),
            HasSubstr("100x"), HasSubstr("200x !"),
            HasSubstr("Holds partly: 100x in 1 run"), HasSubstr("Not run here"),
            HasSubstr("3 claims: holds 0, holds partly 1, does not hold 1")));
}

TEST(ClaimsReportTest, JsonHasEveryKeyOfTheSchema) {
  const auto json = nlohmann::json::parse(ClaimsJson(Sample()));
  for (const char* key :
       {"version", "date", "cpu_model", "isa", "threads_all", "quick",
        "seconds", "counts", "disturbed_runs", "how_to_read", "claims"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  ASSERT_THAT(json["claims"], SizeIs(3));
  const auto& claim = json["claims"][0];
  for (const char* key :
       {"id", "claim", "source", "url", "conditions", "flaws", "published",
        "kind", "points", "left_out", "verdict", "sentence"}) {
    EXPECT_TRUE(claim.contains(key)) << key;
  }
  const auto& point = claim["points"][1];
  EXPECT_EQ(point["run"], "path-768-l12, 16384 rows, 1 thread, cold");
  EXPECT_EQ(point["disturbed"], true);
  EXPECT_EQ(point["judged"], false) << "a call of dense takes 0.1 s";
  EXPECT_DOUBLE_EQ(point["speedup"], 200) << "of least times";
  EXPECT_DOUBLE_EQ(point["fff_s"], 0.5e-3);
  EXPECT_DOUBLE_EQ(point["baselines"][0]["speedup"], 200);
  EXPECT_EQ(json["claims"][2]["points"].size(), 0);
  // Shared by both claims, counted once.
  EXPECT_EQ(json["disturbed_runs"], 2) << "16,384 rows and 1 row, both cold";
  int claims = 0;
  for (const auto& [verdict, count] : json["counts"].items()) {
    claims += count.get<int>();
  }
  EXPECT_EQ(claims, 3);
}

TEST(ClaimsReportTest, HtmlHoldsTheJsonAndNoMarkupOfIt) {
  const std::string html = ClaimsHtml(Sample());
  EXPECT_THAT(html,
              AllOf(HasSubstr("a \\u003cprocessor>"), HasSubstr("Chart.js v"),
                    HasSubstr("MIT License"), Not(HasSubstr("@claims@")),
                    Not(HasSubstr("src=\"http"))));
}

}  // namespace
}  // namespace fff::benchmark

#include "server/benchmark/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "nlohmann/json.hpp"
#include "server/benchmark/feedforward_share.h"
#include "server/benchmark/format.h"
#include "server/benchmark/report_json.h"
#include "server/benchmark/report_text.h"
#include "server/benchmark/svg/report_svg.h"
#include "server/benchmark/text_table.h"

namespace fff::benchmark {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Measurement Measured(double median_s, const std::string& kernel) {
  Measurement measured;
  measured.latency = {10,
                      median_s,
                      median_s * 0.9,
                      median_s * 1.1,
                      median_s * 1.2,
                      median_s * 0.8,
                      median_s};
  measured.repetitions = 4;
  measured.rows_per_s = 1 / median_s;
  measured.gbps = 12.5;
  measured.least_bytes = 12.5e9 * median_s;
  measured.kernel = kernel;
  return measured;
}

BenchmarkReport Sample(int cases) {
  BenchmarkReport report;
  report.model = "path-768-l12";
  report.dense_description = "all 4095 neurons";
  report.threads = 2;
  report.cpu_model = "a processor";
  report.isa = "AVX3";
  report.memory_gbps = 25;
  for (int i = 0; i < cases; ++i) {
    BenchmarkCase one;
    one.rows = int64_t{1} << (4 * i);
    one.fff = Measured(1.5e-6 * static_cast<double>(one.rows), "path_walk");
    one.dense = Measured(300e-6 * static_cast<double>(one.rows), "dense_a");
    one.speedup = 200;
    one.distinct_leaves = 1234;
    one.top_leaf_share = 0.25;
    report.cases.push_back(one);
  }
  return report;
}

// Tags must close in order: enough of XML for what the chart writes.
bool IsBalanced(const std::string& svg) {
  std::vector<std::string> open;
  for (size_t at = svg.find('<'); at != std::string::npos;
       at = svg.find('<', at + 1)) {
    const size_t end = svg.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = svg.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find(' '));
    if (tag.back() == '/') continue;
    if (tag.front() != '/') {
      open.push_back(name);
    } else if (open.empty() || "/" + open.back() != name) {
      return false;
    } else {
      open.pop_back();
    }
  }
  return open.empty();
}

TEST(FormatTest, SecondsKeepThreeDigitsAndAUnit) {
  EXPECT_EQ(FormatSeconds(392e-9), "392 ns");
  EXPECT_EQ(FormatSeconds(1.274e-6), "1.27 µs");
  EXPECT_EQ(FormatSeconds(10.52e-3), "10.5 ms");
  EXPECT_EQ(FormatSeconds(1.2), "1.20 s");
  EXPECT_EQ(FormatSeconds(0.9996e-3), "1.00 ms");
}

TEST(FormatTest, TimesThatAreNoneAreADash) {
  EXPECT_EQ(FormatSeconds(0), "-");
  EXPECT_EQ(FormatSeconds(-1), "-");
  EXPECT_EQ(FormatSeconds(std::numeric_limits<double>::quiet_NaN()), "-");
  EXPECT_EQ(FormatNumber(std::numeric_limits<double>::infinity()), "-");
}

TEST(TextTableTest, AlignsByCharactersAndNumbersToTheRight) {
  EXPECT_EQ(TextTable({"name", "time"}, {{"a", "1 µs"}, {"long", "10 ms"}}),
            "name   time\n"
            "----  -----\n"
            "a      1 µs\n"
            "long  10 ms\n");
}

TEST(TextTableTest, ControlCharactersOfAPeerDoNotReachTheTerminal) {
  EXPECT_EQ(TextTable({"name"}, {{"a\x1b[2Jb\n"}}), "name\n-------\na?[2Jb?\n");
}

TEST(TextTableTest, ShortRowsAreFilled) {
  EXPECT_EQ(TextTable({"a", "b"}, {{"x"}}), "a  b\n-  -\nx\n");
}

TEST(ReportTextTest, SaysWhatWasMeasuredAndOnWhat) {
  const std::string text = ReportText(Sample(2));
  EXPECT_THAT(text, HasSubstr("path-768-l12"));
  EXPECT_THAT(text, HasSubstr("dense: all 4095 neurons"));
  EXPECT_THAT(text, HasSubstr("a processor, AVX3"));
  EXPECT_THAT(text, HasSubstr("2 threads for both"));
  EXPECT_THAT(text, HasSubstr("1.50 µs"));
  EXPECT_THAT(text, HasSubstr("300 µs"));
  EXPECT_THAT(text, HasSubstr("200x"));
  EXPECT_THAT(text, HasSubstr("12.5 (50%)"));
  EXPECT_THAT(text, HasSubstr("1234"));
  EXPECT_THAT(text, HasSubstr("weights\nwarm"));
}

TEST(ReportTextTest, NamesOfAPeerDoNotReachTheTerminalAsControl) {
  BenchmarkReport report = Sample(1);
  report.model = "m\x1b[2J";
  report.dense_description = "d\x1b[2J\n";
  report.cpu_model = "c\x1b[2J";
  report.cases[0].fff.kernel = "k\x1b[2J";
  EXPECT_THAT(ReportText(report), Not(HasSubstr("\x1b")));
}

TEST(ReportJsonTest, OneBatchSizeStandsAtTheTopLevel) {
  const auto json = nlohmann::json::parse(ReportJson(Sample(1)));
  EXPECT_EQ(json["case"], "path-768-l12");
  EXPECT_EQ(json["rows"], 1);
  EXPECT_EQ(json["threads"], 2);
  EXPECT_DOUBLE_EQ(json["fff"]["median_s"], 1.5e-6);
  EXPECT_DOUBLE_EQ(json["dense"]["median_s"], 300e-6);
  EXPECT_EQ(json["speedup"], 200);
  EXPECT_EQ(json["kernel"], "path_walk");
  EXPECT_EQ(json["gbps"], 12.5);
  EXPECT_EQ(json["distinct_leaves"], 1234);
  EXPECT_EQ(json["bandwidth_fraction"], 0.5);
  EXPECT_EQ(json["cases"].size(), 1U);
}

BenchmarkReport WithBaselines() {
  BenchmarkReport report = Sample(1);
  report.dense_kind = BaselineKind::kTrained;
  report.peak_gflops = 200;
  report.cases[0].dense.gflops = 50;
  report.other_baselines = {
      {BaselineKind::kNeurons, "all 4095", 3, 4},
      {BaselineKind::kInferenceWidth, "12 of them", 1, 2}};
  report.cases[0].other_baselines = {Measured(3e-3, "dense_b"),
                                     Measured(0.75e-6, "dense_c")};
  report.accuracy.fff = 0.875;
  report.accuracy.data = "a test set";
  return report;
}

TEST(ReportJsonTest, EveryBaselineHasItsFiguresAndItsSpeedup) {
  const auto json = nlohmann::json::parse(ReportJson(WithBaselines()));
  EXPECT_EQ(json["dense_kind"], "trained");
  EXPECT_EQ(json["other_baselines"][1]["kind"], "inference_width");
  EXPECT_EQ(json["other_baselines"][1]["bytes_per_row"], 2);
  const auto& measured = json["cases"][0]["other_baselines"];
  ASSERT_EQ(measured.size(), 2U);
  EXPECT_EQ(measured[0]["kind"], "neurons");
  EXPECT_DOUBLE_EQ(measured[0]["speedup"], 2000);
  EXPECT_DOUBLE_EQ(measured[1]["speedup"], 0.5);
  EXPECT_EQ(measured[1]["kernel"], "dense_c");
  EXPECT_EQ(json["peak_gflops"], 200);
  EXPECT_EQ(json["dense"]["peak_fraction"], 0.25);
  EXPECT_EQ(json["accuracy"]["fff"], 0.875);
  EXPECT_TRUE(json["accuracy"]["dense"].is_null());
  EXPECT_EQ(json["accuracy"]["data"], "a test set");
}

TEST(ReportTextTest, NamesEveryBaselineAndWhatIsMissing) {
  BenchmarkReport report = WithBaselines();
  report.baselines_left_out = "too large";
  const std::string text = ReportText(report);
  EXPECT_THAT(text, HasSubstr("also all 4095"));
  EXPECT_THAT(text, HasSubstr("dense: inference_width"));
  EXPECT_THAT(text, HasSubstr("0.50x"));
  EXPECT_THAT(text, HasSubstr("left out: too large"));
  EXPECT_THAT(text, HasSubstr("FFF 87.50 %, dense unknown on a test set"));
  EXPECT_THAT(text, HasSubstr("50.0 (25%)"));
}

// The FFF takes 1.5 us, its dense opponent 300, both with a rest of 0.5 us.
BenchmarkReport OfANetwork() {
  BenchmarkReport report = Sample(1);
  report.other_baselines = {
      {BaselineKind::kInferenceWidth, "12 of them", 1, 2},
      {BaselineKind::kWithoutFeedforward, "without its FFF layer", 3, 4}};
  report.cases[0].other_baselines = {Measured(0.75e-6, "dense_b"),
                                     Measured(0.5e-6, "dense_c")};
  return report;
}

TEST(FeedforwardShareTest, FollowsFromThreeMedians) {
  const BenchmarkReport report = OfANetwork();
  const auto share = ShareOf(report, report.cases[0]);
  ASSERT_TRUE(share.has_value());
  EXPECT_DOUBLE_EQ(share->without_s, 0.5e-6);
  EXPECT_NEAR(share->of_fff, 1.0 / 1.5, 1e-9);
  EXPECT_NEAR(share->of_dense, 299.5 / 300, 1e-9);
  EXPECT_NEAR(share->layers_speedup, 299.5, 1e-6);
  EXPECT_NEAR(share->network_speedup, 200, 1e-6);
  EXPECT_NEAR(share->speedup_max, 600, 1e-6);
}

TEST(FeedforwardShareTest, IsNoneWhereItWasNotMeasured) {
  const BenchmarkReport report = WithBaselines();
  EXPECT_FALSE(ShareOf(report, report.cases[0]).has_value());
  const auto json = nlohmann::json::parse(ReportJson(report));
  EXPECT_TRUE(json["cases"][0]["feedforward"].is_null());
  EXPECT_THAT(ReportText(report), Not(HasSubstr("at most")));
}

TEST(FeedforwardShareTest, NoiseMakesNoNegativeTime) {
  BenchmarkReport report = OfANetwork();
  report.cases[0].other_baselines[1] = Measured(2e-6, "dense_c");
  const auto share = ShareOf(report, report.cases[0]);
  ASSERT_TRUE(share.has_value());
  EXPECT_EQ(share->of_fff, 0);
  EXPECT_EQ(share->layers_speedup, 0);
}

TEST(LayersTextTest, StandsInBothReportsSideBySide) {
  BenchmarkReport report = OfANetwork();
  report.cases[0].fff.layers = {{"linear: a", 4, false, 3e-6},
                                {"fff: b", 4, true, 1e-6},
                                {"residual: c", 8, false, 1e-9}};
  report.cases[0].dense.layers = {{"linear: a", 4, false, 3e-6},
                                  {"linear: b", 4, true, 27e-6},
                                  {"residual: c", 8, false, 1e-9}};
  const auto json = nlohmann::json::parse(ReportJson(report));
  const auto& layers = json["cases"][0]["fff"]["layers"];
  EXPECT_EQ(layers[1]["layer"], "fff: b");
  EXPECT_EQ(layers[1]["count"], 4);
  EXPECT_TRUE(layers[1]["routes"]);
  EXPECT_NEAR(layers[1]["share"], 0.25, 1e-3);
  const std::string text = ReportText(report);
  EXPECT_THAT(text, HasSubstr("Where the time of a call of 1 row goes:"));
  EXPECT_THAT(text, HasSubstr("27.0x  fff: b"));
  EXPECT_THAT(text, HasSubstr("90.0%"));
  EXPECT_THAT(text, Not(HasSubstr("residual: c")));
  EXPECT_THAT(text, HasSubstr("what takes less"));
}

TEST(LayersTextTest, ATwinOfOtherLayersStandsBelow) {
  BenchmarkReport report = OfANetwork();
  report.cases[0].fff.layers = {{"linear: a", 1, false, 3e-6},
                                {"fff: b", 1, true, 1e-6}};
  // As many lines, none of which stands for an FFF layer.
  report.cases[0].dense.layers = {{"linear: d\x1b", 1, false, 3e-6},
                                  {"linear: e", 1, false, 3e-6}};
  const std::string text = ReportText(report);
  EXPECT_THAT(text, HasSubstr("FFF:\n"));
  EXPECT_THAT(text, HasSubstr("Dense:\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(LayersTextTest, OfALayerAloneNothingIsSaid) {
  EXPECT_THAT(ReportText(Sample(1)), Not(HasSubstr("Where the time")));
}

TEST(FeedforwardShareTest, StandsInBothReports) {
  const BenchmarkReport report = OfANetwork();
  const auto json = nlohmann::json::parse(ReportJson(report));
  EXPECT_NEAR(json["cases"][0]["feedforward"]["speedup_max"], 600, 1e-6);
  const std::string text = ReportText(report);
  EXPECT_THAT(text, HasSubstr("67%"));
  EXPECT_THAT(text, HasSubstr("600x"));
  EXPECT_THAT(text, HasSubstr("without_feedforward"));
}

TEST(ReportJsonTest, SeveralBatchSizesStandInCasesOnly) {
  const auto json = nlohmann::json::parse(ReportJson(Sample(3)));
  EXPECT_FALSE(json.contains("rows"));
  ASSERT_EQ(json["cases"].size(), 3U);
  EXPECT_EQ(json["cases"][1]["rows"], 16);
  EXPECT_EQ(json["cases"][1]["case"], "path-768-l12");
  EXPECT_EQ(json["memory_gbps"], 25);
}

TEST(ReportJsonTest, NamesThatAreNotUtf8DoNotBreakTheDocument) {
  BenchmarkReport report = Sample(1);
  report.model = "\xff\xfe";
  EXPECT_TRUE(nlohmann::json::accept(ReportJson(report)));
}

TEST(ReportSvgTest, DrawsBothSeriesTheBoundAndTheSpeedup) {
  const std::string svg = ReportSvg(Sample(4));
  EXPECT_TRUE(IsBalanced(svg)) << svg;
  EXPECT_THAT(svg, HasSubstr("<polyline class=\"fff\""));
  EXPECT_THAT(svg, HasSubstr("<polyline class=\"dense\""));
  EXPECT_THAT(svg, HasSubstr("<polyline class=\"bound\""));
  EXPECT_THAT(svg, HasSubstr(">200x<"));
  EXPECT_THAT(svg, HasSubstr(">4096<"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
}

TEST(ReportSvgTest, DrawsAgainstTrainingWidthWhenAskedTo) {
  BenchmarkReport report = Sample(3);
  for (BenchmarkCase& one : report.cases) {
    one.neurons = one.rows * 10;
    one.rows = 64;
  }
  const std::string svg = ReportSvg(report, ChartAxis::kNeurons);
  EXPECT_TRUE(IsBalanced(svg)) << svg;
  EXPECT_THAT(svg, HasSubstr("time of a call of 64 rows by training width"));
  EXPECT_THAT(svg, HasSubstr("neurons of the FFF"));
  EXPECT_THAT(svg, HasSubstr(">2560<"));
  EXPECT_THAT(svg, HasSubstr("<polyline class=\"bound\""));
  report.cases[0].neurons = 0;
  EXPECT_TRUE(IsBalanced(ReportSvg(report, ChartAxis::kNeurons)));
}

TEST(ReportSvgTest, LeavesTheBoundOutWhenTheBandwidthIsUnknown) {
  BenchmarkReport report = Sample(2);
  report.memory_gbps = 0;
  EXPECT_THAT(ReportSvg(report), Not(HasSubstr("class=\"bound\"")));
}

TEST(ReportSvgTest, OneNoneAndSenselessCasesStillDraw) {
  EXPECT_TRUE(IsBalanced(ReportSvg(Sample(1))));
  EXPECT_TRUE(IsBalanced(ReportSvg(Sample(0))));
  BenchmarkReport report = Sample(3);
  report.cases[0].rows = -5;
  report.cases[1].fff.latency = {};
  report.cases[2].dense.latency.median_s =
      std::numeric_limits<double>::infinity();
  const std::string svg = ReportSvg(report);
  EXPECT_TRUE(IsBalanced(svg));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf,")));
}

TEST(ReportSvgTest, NamesCannotBreakOutOfTheirText) {
  BenchmarkReport report = Sample(1);
  report.model = "</text><script>\"&";
  const std::string svg = ReportSvg(report);
  EXPECT_TRUE(IsBalanced(svg));
  EXPECT_THAT(svg, Not(HasSubstr("<script>")));
  EXPECT_THAT(svg, HasSubstr("&lt;script&gt;&quot;&amp;"));
}

}  // namespace
}  // namespace fff::benchmark

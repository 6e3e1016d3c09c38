#include "client/cli/predictions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "client/cli/report_messages.h"
#include "client/cli/routing_tree.h"
#include "client/cli/screen/progress_bar.h"
#include "nlohmann/json.hpp"

namespace fff::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Two rows through a leaf-family tree of depth 3: leaves 5 (R L R) and 0.
v1::LayerRouting LeafRouting() {
  v1::LayerRouting routing;
  routing.set_family(v1::FAMILY_LEAF);
  routing.set_trees(1);
  routing.set_depth(3);
  routing.set_margins_per_tree(3);
  for (const int leaf : {5, 0}) routing.add_leaf(leaf);
  for (const float z : {0.5F, -0.25F, 2.0F, -1.0F, -2.0F, -3.0F}) {
    routing.add_margin(z);
  }
  return routing;
}

Predictions Sample() {
  Predictions predictions;
  predictions.model = "m";
  predictions.version = 2;
  predictions.rows = 2;
  predictions.width = 3;
  predictions.output = {0.1F, 0.9F, 0.3F, 5, 1, 2};
  predictions.labels = {"ant", "bee", "cat"};
  predictions.truth = {1, 2};
  predictions.row_shape = {3};
  predictions.request_s = {0.001};
  return predictions;
}

TEST(RoutingTreeTest, DrawsEveryNodeOfTheWayWithItsDecision) {
  const std::string drawing = DrawRouting(LeafRouting(), 0);
  EXPECT_THAT(drawing, HasSubstr("root -> R -> L -> R, leaf 5 of 8"));
  EXPECT_THAT(drawing, HasSubstr("node 0  z = +0.5  -> right"));
  EXPECT_THAT(drawing, HasSubstr("node 2  z = -0.25  -> left"));
  EXPECT_THAT(drawing, HasSubstr("node 5  z = +2  -> right"));
  EXPECT_THAT(drawing, HasSubstr("\\_ leaf 5"));
  EXPECT_THAT(DrawRouting(LeafRouting(), 1),
              HasSubstr("root -> L -> L -> L, leaf 0 of 8"));
}

TEST(RoutingTreeTest, PathFamilyShowsTheBottomNodesValueWithoutADecision) {
  v1::LayerRouting routing;
  routing.set_family(v1::FAMILY_PATH);
  routing.set_trees(6);
  routing.set_depth(1);
  routing.set_margins_per_tree(2);
  for (int tree = 0; tree < 6; ++tree) {
    routing.add_leaf(1);
    routing.add_margin(1.0F);
    routing.add_margin(-4.0F);
  }
  const std::string drawing = DrawRouting(routing, 0);
  EXPECT_THAT(drawing, HasSubstr("node 2  z = -4  (bottom)"));
  EXPECT_THAT(drawing, HasSubstr("and 2 more trees"));
  EXPECT_THAT(drawing, Not(HasSubstr("tree 4:")));
}

TEST(RoutingTreeTest, ArraysThatContradictTheirCountsAreNotIndexed) {
  EXPECT_TRUE(HoldsRow(LeafRouting(), 1));
  EXPECT_FALSE(HoldsRow(LeafRouting(), 2));
  EXPECT_FALSE(HoldsRow(LeafRouting(), -1));
  v1::LayerRouting routing = LeafRouting();
  routing.set_trees(int64_t{1} << 62);
  EXPECT_FALSE(HoldsRow(routing, 0));
  routing = LeafRouting();
  routing.set_margins_per_tree(-3);
  EXPECT_FALSE(HoldsRow(routing, 0));
  routing = LeafRouting();
  routing.set_depth(1000);
  EXPECT_FALSE(HoldsRow(routing, 0));
  routing = LeafRouting();
  routing.mutable_margin()->RemoveLast();
  EXPECT_THAT(DrawRouting(routing, 0), HasSubstr("incomplete"));
  routing = LeafRouting();
  routing.set_leaf(0, 8);
  EXPECT_THAT(DrawRouting(routing, 0), HasSubstr("outside the tree"));
}

TEST(PredictionsTest, TableShowsLabelsScoresAndTruth) {
  const std::string text = PredictionsText(Sample(), 20);
  EXPECT_THAT(text, AllOf(HasSubstr("bee"), HasSubstr("0.9"),
                          HasSubstr("cat 0.3, ant 0.1"), HasSubstr("right"),
                          HasSubstr("WRONG")));
  EXPECT_THAT(text, HasSubstr("accuracy 50.00 % (1 of 2)"));
  EXPECT_THAT(text, HasSubstr("2 rows in 1 request"));
}

TEST(PredictionsTest, ColumnsWithoutLabelsAreNumbered) {
  Predictions predictions = Sample();
  predictions.labels.clear();
  predictions.truth.clear();
  const std::string text = PredictionsText(predictions, 1);
  EXPECT_THAT(text, HasSubstr("2 0.3, 0 0.1"));
  EXPECT_THAT(text, HasSubstr("and 1 more rows"));
  EXPECT_THAT(text, Not(HasSubstr("accuracy")));
}

// Two rows, of one token and of two.
Predictions PerToken() {
  Predictions predictions = Sample();
  predictions.tokens = {1, 2};
  predictions.output = {0.1F, 0.9F, 0.3F, 5, 1, 2, 0, 0, 7};
  predictions.truth = {1, 0, 0};
  predictions.row_shape.clear();
  return predictions;
}

TEST(PredictionsTest, SequencesHaveALineForEachToken) {
  const std::string text = PredictionsText(PerToken(), 20);
  EXPECT_THAT(
      text, AllOf(HasSubstr("row  token  prediction"),
                  HasSubstr("  1      0  ant "), HasSubstr("  1      1  cat "),
                  HasSubstr("accuracy 66.67 % (2 of 3)"),
                  HasSubstr("2 rows, 3 tokens in 1 request")));
  EXPECT_THAT(PredictionsText(PerToken(), 1), HasSubstr("and 2 more tokens"));
  EXPECT_THAT(PerToken().Shape(), ElementsAre(3, 3));
  EXPECT_THAT(Sample().Shape(), ElementsAre(2, 3));
}

TEST(PredictionsTest, RoutingOfASequenceStandsAtItsFirstToken) {
  Predictions predictions = PerToken();
  v1::LayerRouting routing = LeafRouting();  // one row of two tokens
  routing.set_tokens(2);
  predictions.routing.push_back({1, 1, {routing}});
  EXPECT_THAT(PredictionsText(predictions, 20), HasSubstr("row 1, layer 0"));
  const auto json = nlohmann::json::parse(PredictionsJson(predictions));
  const auto& answers = json["predictions"];
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[2]["token"], 1);
  EXPECT_FALSE(answers[0].contains("routing"));
  EXPECT_THAT(answers[1]["routing"][0]["leaf"], ElementsAre(5, 0));
  EXPECT_FALSE(answers[2].contains("routing"));
}

TEST(PredictionsTest, NoRowsShownLeavesTheSummaryAlone) {
  const std::string text = PredictionsText(Sample(), 0);
  EXPECT_THAT(text, ::testing::StartsWith("\nm version 2: 2 rows"));
  EXPECT_THAT(text, Not(HasSubstr("bee")));
}

TEST(PredictionsTest, RoutingOfASecondRequestBelongsToItsOwnRows) {
  Predictions predictions = Sample();
  predictions.routing.push_back({0, 1, {LeafRouting()}});
  predictions.routing.push_back({1, 1, {LeafRouting()}});
  // Row 1 is the first row of the second request.
  EXPECT_THAT(predictions.Drawing(1), HasSubstr("leaf 5 of 8"));
  const auto json = nlohmann::json::parse(PredictionsJson(predictions));
  const auto& routing = json["predictions"][1]["routing"][0];
  EXPECT_THAT(routing["leaf"], ElementsAre(5));
  EXPECT_EQ(routing["margin"].size(), 3U);
}

TEST(PredictionsTest, JsonHoldsScoresAndAccuracy) {
  const auto json = nlohmann::json::parse(PredictionsJson(Sample()));
  EXPECT_EQ(json["model"], "m");
  EXPECT_EQ(json["version"], 2);
  EXPECT_EQ(json["implementation"], "fff");
  EXPECT_EQ(json["correct"], 1);
  EXPECT_DOUBLE_EQ(json["accuracy"], 0.5);
  EXPECT_EQ(json["predictions"][0]["label"], "bee");
  EXPECT_EQ(json["predictions"][0]["index"], 1);
  EXPECT_THAT(json["predictions"][1]["scores"], ElementsAre(5, 1, 2));
  EXPECT_EQ(json["predictions"][1]["truth"], 2);
}

// Rows of two lengths, of an output with a number per token.
TEST(OutputRowsTest, JoinsRequestsOfDifferentLengths) {
  OutputRows rows;
  rows.name = "hidden";
  rows.tokens = true;
  ASSERT_TRUE(
      rows.Append({"hidden", 4, {2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}}).ok());
  EXPECT_THAT(rows.Shape(), ElementsAre(2, 2, 2));
  ASSERT_TRUE(rows.Append({"hidden", 2, {1, 1, 2}, {9, 10}}).ok());
  EXPECT_THAT(rows.Shape(), ElementsAre(5, 2));
  EXPECT_EQ(rows.rows(), 3);
  EXPECT_THAT(rows.row(1), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(rows.row(2), ElementsAre(9, 10));
  EXPECT_EQ(rows.Append({"hidden", 3, {1, 1, 3}, {1, 2, 3}}).code(),
            absl::StatusCode::kInternal);
}

TEST(PredictionsTest, OtherOutputsAreNamedAndStandAtTheirRow) {
  Predictions predictions = Sample();
  predictions.name = "scores";
  OutputRows hidden;
  hidden.name = "hidden";
  ASSERT_TRUE(hidden.Append({"hidden", 2, {2, 2}, {1, 2, 3, 4}}).ok());
  predictions.others.push_back(hidden);
  EXPECT_THAT(PredictionsText(predictions, 0),
              HasSubstr("\noutputs: scores [2, 3], hidden [2, 2]\n"));
  const auto json = nlohmann::json::parse(PredictionsJson(predictions));
  EXPECT_EQ(json["predictions"][1]["outputs"]["hidden"],
            nlohmann::json::array({3, 4}));
  EXPECT_THAT(PredictionsText(Sample(), 0), Not(HasSubstr("outputs")));
}

TEST(PredictionsTest, LabelsThatAreNotUtf8DoNotBreakTheDocument) {
  Predictions predictions = Sample();
  predictions.labels = {"\xff", "\xfe\x1b", "c"};
  predictions.model = "m\x1b[2J";
  EXPECT_TRUE(nlohmann::json::accept(PredictionsJson(predictions)));
  EXPECT_THAT(PredictionsText(predictions, 20), Not(HasSubstr("\x1b")));
}

TEST(ProgressLineTest, FillsWithTheShareDone) {
  EXPECT_EQ(ProgressLine(1, 2, "16 rows"),
            "[############------------] 1/2  16 rows");
  EXPECT_EQ(ProgressLine(2, 2, ""), "[########################] 2/2  ");
}

TEST(ProgressLineTest, SenselessCountsStayInTheBar) {
  EXPECT_THAT(ProgressLine(9, 2, ""), HasSubstr("[########################]"));
  EXPECT_THAT(ProgressLine(-1, 0, ""), HasSubstr("[------------------------]"));
}

TEST(ReportMessagesTest, KeepsEveryFieldOfTheWire) {
  v1::BenchmarkReport message;
  message.set_model("m");
  message.set_version(3);
  message.set_dense_kind(v1::DENSE_KIND_TRAINED);
  message.set_threads(2);
  message.set_memory_gbps(20);
  message.set_peak_gflops(200);
  message.set_cold_weights(true);
  auto* baseline = message.add_other_baselines();
  baseline->set_kind(v1::DENSE_KIND_INFERENCE_WIDTH);
  baseline->set_bytes_per_row(6);
  message.mutable_accuracy()->set_fff(0.5);
  auto* one = message.add_cases();
  one->mutable_fff()->set_repetitions(8);
  one->set_leaves_per_call(2.5);
  one->add_other_baselines()->set_median_s(1);
  one->set_rows(16);
  one->mutable_fff()->set_median_s(0.5);
  one->mutable_fff()->set_gbps(4);
  one->mutable_fff()->set_kernel("k");
  one->mutable_fff()->add_layers()->set_layer("fff: a");
  one->mutable_fff()->mutable_layers(0)->set_seconds(0.25);
  one->mutable_dense()->set_median_s(2);
  one->set_speedup(4);
  one->set_distinct_leaves(7);
  one->set_neurons(127);
  const benchmark::BenchmarkReport report = DecodeReport(message);
  EXPECT_EQ(report.model, "m");
  EXPECT_EQ(report.version, 3);
  EXPECT_EQ(report.dense_kind, benchmark::BaselineKind::kTrained);
  EXPECT_EQ(report.peak_gflops, 200);
  EXPECT_TRUE(report.cold_weights);
  ASSERT_EQ(report.other_baselines.size(), 1U);
  EXPECT_EQ(report.other_baselines[0].kind,
            benchmark::BaselineKind::kInferenceWidth);
  EXPECT_EQ(report.other_baselines[0].bytes_per_row, 6);
  EXPECT_EQ(report.accuracy.fff, 0.5);
  EXPECT_FALSE(report.accuracy.dense.has_value());
  EXPECT_EQ(report.threads, 2);
  ASSERT_EQ(report.cases.size(), 1U);
  EXPECT_EQ(report.cases[0].rows, 16);
  EXPECT_DOUBLE_EQ(report.cases[0].fff.latency.median_s, 0.5);
  EXPECT_DOUBLE_EQ(report.cases[0].fff.least_bytes, 2e9);
  EXPECT_EQ(report.cases[0].fff.kernel, "k");
  ASSERT_EQ(report.cases[0].fff.layers.size(), 1U);
  EXPECT_EQ(report.cases[0].fff.layers[0].layer, "fff: a");
  EXPECT_EQ(report.cases[0].fff.layers[0].seconds, 0.25);
  EXPECT_EQ(report.cases[0].distinct_leaves, 7);
  EXPECT_EQ(report.cases[0].neurons, 127);
  EXPECT_EQ(report.cases[0].fff.repetitions, 8);
  EXPECT_EQ(report.cases[0].leaves_per_call, 2.5);
  ASSERT_EQ(report.cases[0].other_baselines.size(), 1U);
  EXPECT_EQ(report.cases[0].other_baselines[0].latency.median_s, 1);
}

}  // namespace
}  // namespace fff::cli

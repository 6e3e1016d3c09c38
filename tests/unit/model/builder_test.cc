#include "server/model/builder.h"

#include <limits>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/tensor_reader.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using importer::ParseModelConfig;
using importer::TensorReader;
using test::RandomRows;
using test::RunModel;
using test::SyntheticCheckpoint;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<std::shared_ptr<const Model>> Build(
    const SyntheticCheckpoint& made, absl::string_view json = "{}") {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return test::BuildFrom(*config, made.Build());
}

std::string ErrorOf(const SyntheticCheckpoint& made,
                    absl::string_view json = "{}") {
  const auto model = Build(made, json);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument)
      << model.status();
  return std::string(model.status().message());
}

TEST(BuilderTest, DetectsOneLayerWithoutAConfig) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 12, 3, 5, 2);
  const auto model = Build(made);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ((*model)->layers().size(), 1u);
  EXPECT_EQ((*model)->layers()[0].description,
            "fastfeedforward: 12 -> (3) -> 5, depth 2 (4 leaves), relu, right "
            "when z >= 0");
  EXPECT_EQ((*model)->input().name, "input");
  EXPECT_EQ((*model)->output().name, "output");
  EXPECT_THAT((*model)->input().shape, ElementsAre(12));
  EXPECT_THAT((*model)->output().shape, ElementsAre(5));
  EXPECT_THAT((*model)->output().labels, IsEmpty());
  EXPECT_EQ((*model)->cost().flops, 2 * 2 * 12 + 2 * 12 * 3 + 2 * 3 * 5);
}

// Layers 0 and 1 are leaf and linear with an FFF behind them, 2 is that FFF.
TEST(BuilderTest, OnlyLayersWithNoRoutingBehindThemChooseKernelsByMeasurement) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("a.", 12, 3, 9, 2);
  made.AddRandom("b.weight", {8, 9});
  made.AddRandom("b.bias", {8});
  made.AddLeafLayer("c.", 8, 3, 5, 2);
  const auto config = ParseModelConfig(
      R"({"layers": [{"type": "fff", "prefix": "a."},
                     {"type": "linear", "prefix": "b."},
                     {"type": "fff", "prefix": "c."}]})",
      "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  BuildOptions options;
  options.tuning_seconds = 1e-9;  // one row alone
  const auto model = test::BuildFrom(*config, made.Build(), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->KernelSteps(0)[0].reason, HasSubstr("predicted cost"));
  EXPECT_THAT((*model)->KernelSteps(1)[0].reason,
              HasSubstr("the same in every batch"));
  EXPECT_THAT((*model)->KernelSteps(2)[0].reason, HasSubstr("measured: "));
}

TEST(BuilderTest, EdgesTakeNamesShapesAndLabels) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 12, 3, 2, 2);
  const auto model = Build(made, R"({
      "layers": [{"type": "flatten"}, {"type": "fff"}],
      "input": {"name": "pixels", "shape": [1, 3, 4]},
      "output": {"name": "scores", "shape": [2, 1], "labels": ["a", "b"]}})");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->input().name, "pixels");
  EXPECT_THAT((*model)->input().shape, ElementsAre(1, 3, 4));
  EXPECT_EQ((*model)->input().width(), 12);
  EXPECT_THAT((*model)->output().shape, ElementsAre(2, 1));
  EXPECT_THAT((*model)->output().labels, ElementsAre("a", "b"));
  const auto direct = Build(
      made, R"({"input": {"shape": [3, 4]}, "layers": [{"type": "fff"}]})");
  ASSERT_TRUE(direct.ok()) << direct.status();
  const std::vector<float> x = RandomRows(7, 12);
  EXPECT_EQ(RunModel(**model, x), RunModel(**direct, x));
}

TEST(BuilderTest, ShapesAndLabelsMustFitTheLayers) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 12, 3, 2, 2);
  EXPECT_THAT(
      ErrorOf(made, R"({"input": {"shape": [28, 28]}})"),
      HasSubstr("test.safetensors: layers[0] (fff): got rows of [28, 28] "
                "from input.shape [28, 28], wanted 12"));
  EXPECT_THAT(ErrorOf(made, R"({"output": {"shape": [3]}})"),
              HasSubstr("output.shape: found [3], whose product is 3, but the "
                        "layers have width 2"));
  EXPECT_THAT(ErrorOf(made, R"({"output": {"labels": ["a", "b", "c"]}})"),
              HasSubstr("output.labels: found 3 labels, wanted 2"));
}

TEST(BuilderTest, WidthsMustAgreeBetweenLayers) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("fff.", 12, 3, 5, 2);
  made.AddRandom("head.weight", {2, 6});
  EXPECT_THAT(ErrorOf(made, R"({"layers": [
                  {"type": "fff", "prefix": "fff."},
                  {"type": "activation", "activation": "relu"},
                  {"type": "linear", "prefix": "head."}]})"),
              HasSubstr("layers[2] (linear): got rows of width 5 from "
                        "layers[0] (fff), wanted 6"));
}

TEST(BuilderTest, LayersWithoutWeightsNeedAnInputShape) {
  SyntheticCheckpoint made;
  const char* bare =
      R"({"layers": [{"type": "activation", "activation": "relu"}]})";
  EXPECT_THAT(ErrorOf(made, bare),
              HasSubstr("no layer has a width of its own"));
  const auto model = Build(made, R"({"input": {"shape": [3]}, "layers": [
      {"type": "activation", "activation": "relu"}, {"type": "flatten"}]})");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(RunModel(**model, {-1, 2, -3}), (std::vector<float>{0, 2, 0}));
  // The width of layers before the first weights comes from those.
  made.AddRandom("weight", {2, 4});
  const auto led = Build(made, R"({"layers": [
      {"type": "activation", "activation": "relu"}, {"type": "linear"}]})");
  ASSERT_TRUE(led.ok()) << led.status();
  EXPECT_EQ((*led)->input().width(), 4);
}

TEST(BuilderTest, OddAndSmallestSizesRun) {
  for (const int64_t in : {1, 3, 17}) {
    for (const int64_t out : {1, 5, 19}) {
      for (const int depth : {0, 1, 4}) {
        SyntheticCheckpoint made;
        made.AddLeafLayer("", in, 1, out, depth);
        const auto leaf = Build(made);
        ASSERT_TRUE(leaf.ok()) << leaf.status();
        EXPECT_EQ(RunModel(**leaf, RandomRows(3, in)).size(),
                  static_cast<size_t>(3 * out));
      }
      for (const int64_t rows : {1, 3, 15}) {
        SyntheticCheckpoint made;
        made.AddLinearPair("", in, rows, out);
        const auto path = Build(made);
        ASSERT_TRUE(path.ok()) << path.status();
        EXPECT_EQ(RunModel(**path, RandomRows(3, in)).size(),
                  static_cast<size_t>(3 * out));
      }
    }
  }
}

TEST(BuilderTest, SeveralTreesAreDescribedAndRouted) {
  SyntheticCheckpoint made;
  made.AddLinearPair("", 8, 3 * 7, 8);
  EXPECT_THAT(ErrorOf(made), HasSubstr("trees=3 (3 levels each)"));
  const auto model =
      Build(made, R"({"layers": [{"type": "fff", "trees": 3}]})");
  ASSERT_TRUE(model.ok()) << model.status();
  const LayerFacts& layer = (*model)->layers()[0];
  EXPECT_EQ(layer.description,
            "ultrafastbert: 8 -> 8, 3 trees of 3 levels (7 nodes), gelu, right "
            "when z > 0");
  EXPECT_EQ(layer.routing.family, graph::RoutingShape::Family::kPath);
  EXPECT_EQ(layer.routing.trees, 3);
  EXPECT_EQ(layer.routing.decisions, 3);
  EXPECT_EQ(layer.routing.depth, 2);
  EXPECT_EQ(layer.cost.flops, 3 * 3 * (2 * 8 + 2 * 8));
  EXPECT_EQ(layer.cost.weight_bytes, 3 * 3 * 4 * (8 + 8 + 1));
}

TEST(BuilderTest, ExplicitFieldsOverrideTheConvention) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 6, 2, 3, 1);
  const auto model = Build(made, R"({"layers": [{"type": "fff",
      "convention": "fastfeedforward", "tie": "left", "output_bias": false,
      "activation": "identity", "family": "leaf", "trees": 1}]})");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->layers()[0].description,
            "fastfeedforward: 6 -> (2) -> 3, depth 1 (2 leaves), identity, "
            "right when z > 0, no leaf output bias");
  const auto added = Build(made, R"({"layers": [{"type": "fff",
      "convention": "fastfeedforward-0.2.1", "output_bias": true}]})");
  ASSERT_TRUE(added.ok()) << added.status();
  const auto plain = Build(made);
  const std::vector<float> x = RandomRows(5, 6);
  EXPECT_EQ(RunModel(**added, x), RunModel(**plain, x));
  const auto dropped = Build(made, R"({"layers": [{"type": "fff",
      "convention": "fastfeedforward-0.2.1"}]})");
  EXPECT_NE(RunModel(**dropped, x), RunModel(**plain, x));
}

TEST(BuilderTest, TieDecidesWhereZeroGoes) {
  SyntheticCheckpoint made;
  // z = 0 for every input; left adds 1, right adds 10.
  made.Add("X", {3, 1}, {0, 0, 0}).Add("Y", {3, 1}, {0, 1, 10});
  const auto left = Build(made, R"({"layers": [{"type": "fff",
      "convention": "sap-fff", "activation": "sigmoid"}]})");
  ASSERT_TRUE(left.ok()) << left.status();
  EXPECT_EQ(RunModel(**left, {1})[0], 0.5F);
  const auto right = Build(made, R"({"layers": [{"type": "fff",
      "convention": "sap-fff", "activation": "sigmoid", "tie": "right"}]})");
  EXPECT_EQ(RunModel(**right, {1})[0], 5.0F);
}

TEST(BuilderTest, OverridesThatMeanNothingAreRefused) {
  SyntheticCheckpoint leaf;
  leaf.AddLeafLayer("", 6, 2, 3, 1);
  EXPECT_THAT(ErrorOf(leaf, R"({"layers": [{"type": "fff", "trees": 2}]})"),
              HasSubstr("layers[0]: \"trees\": found 2, but a layer of the "
                        "leaf family has one tree"));
  SyntheticCheckpoint path;
  path.AddLinearPair("", 6, 7, 6);
  EXPECT_THAT(
      ErrorOf(path, R"({"layers": [{"type": "fff", "output_bias": true}]})"),
      HasSubstr("the path family has no output bias"));
  EXPECT_THAT(
      ErrorOf(path, R"({"layers": [{"type": "fff", "family": "leaf"}]})"),
      HasSubstr("no convention is recognised"));
}

TEST(BuilderTest, ALinearPairWithoutBiasIsAnotherCode) {
  SyntheticCheckpoint made;
  made.AddLinearPair("", 6, 7, 6).Remove("linear_in.bias");
  EXPECT_THAT(ErrorOf(made), AllOf(HasSubstr("\"fast-ffn\""),
                                   HasSubstr("\"activation\": \"relu\"")));
  const auto model =
      Build(made, R"({"layers": [{"type": "fff", "activation": "relu"}]})");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->layers()[0].description,
            "fast-ffn: 6 -> 6, 1 tree of 3 levels (7 nodes), relu, right when "
            "z >= 0");
  const char* named = R"({"layers": [{"type": "fff",
                          "convention": "ultrafastbert"}]})";
  EXPECT_THAT(ErrorOf(made, named),
              AllOf(HasSubstr("\"linear_in.bias\" is missing"),
                    HasSubstr("set \"tie\"")));
  EXPECT_TRUE(Build(made, R"({"layers": [{"type": "fff", "tie": "right",
                            "convention": "ultrafastbert"}]})")
                  .ok());
}

TEST(BuilderTest, StoredDepthMustAgreeWithTheShapes) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 6, 2, 3, 2).AddInteger("depth", 3);
  EXPECT_THAT(ErrorOf(made),
              HasSubstr("test.safetensors: layers[0]: tensor \"depth\": found "
                        "3, but the tensors' shapes are those of depth 2"));
  made.Remove("depth");
  EXPECT_TRUE(Build(made).ok());
}

TEST(BuilderTest, KnownTensorsOfTrainingAreIgnored) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 6, 2, 3, 2);
  made.AddRandom("node_usage", {3}).AddRandom("leaf_usage", {4});
  made.AddRandom("f", {4});
  EXPECT_TRUE(Build(made).ok());
}

TEST(BuilderTest, CountersOfTrainingAreNoLayer) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("module.fff.", 6, 2, 3, 2);
  made.AddInteger("n_averaged", 7);
  made.AddInteger("module.norm.num_batches_tracked", 7);
  EXPECT_TRUE(Build(made).ok());
  // One number is a counter; a row of them is something else.
  made.AddRandom("module.n_averaged", {2});
  EXPECT_THAT(ErrorOf(made), HasSubstr("no layer uses: \"module.n_averaged\""));
}

TEST(BuilderTest, LeftoverTensorsAreNamed) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 6, 2, 3, 2).AddRandom("head.weight", {2, 3});
  EXPECT_THAT(ErrorOf(made),
              AllOf(HasSubstr("test.safetensors: 1 tensor that no layer uses: "
                              "\"head.weight\""),
                    HasSubstr("list every layer in config.json")));
}

TEST(BuilderTest, AnExplicitPrefixTakesALayerOutOfALargerFile) {
  SyntheticCheckpoint made;
  made.AddLinearPair("a.ffn.", 6, 7, 6).AddLinearPair("b.ffn.", 6, 7, 6);
  made.AddRandom("embedding.weight", {9, 6});
  EXPECT_THAT(ErrorOf(made), HasSubstr("\"a.ffn.\", \"b.ffn.\""));
  const char* first = R"({"layers": [{"type": "fff", "prefix": "a.ffn."}]})";
  EXPECT_TRUE(Build(made, first).ok());
  // In the module that is used, a tensor nobody reads would be another
  // function.
  made.AddRandom("a.ffn.linear_out.bias", {6});
  EXPECT_THAT(ErrorOf(made, first), HasSubstr("\"a.ffn.linear_out.bias\""));
}

TEST(BuilderTest, ASharedPrefixIsDetected) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("module.fff.", 6, 2, 3, 2);
  const auto model = Build(made);
  ASSERT_TRUE(model.ok()) << model.status();
  made.AddRandom("module.other", {2});
  EXPECT_THAT(ErrorOf(made), HasSubstr("\"module.other\""));
}

TEST(BuilderTest, AnExplicitConventionSettlesATie) {
  SyntheticCheckpoint made;
  made.AddRandom("X", {7, 4}).AddRandom("Y", {7, 2});
  made.AddRandom("w1s", {7, 4}).AddRandom("w2s", {7, 2});
  EXPECT_THAT(ErrorOf(made), HasSubstr("set \"convention\""));
  for (const char* name : {"sap-fff", "ultrafastbert-bmm"}) {
    const auto model = Build(made, std::string(R"({"layers": [{"type": "fff",
            "convention": ")") + name + R"("}]})");
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_THAT((*model)->layers()[0].description, HasSubstr(name));
  }
}

TEST(BuilderTest, TheMasterLeafIsNeverDroppedSilently) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 6, 2, 3, 2).AddMasterLeaf("", 6, 8, 3, 1.2F);
  const auto model = Build(made);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->layers()[0].description,
              HasSubstr("weighs 0.231"));  // 1 - sigmoid(1.2)
  EXPECT_THAT(ErrorOf(made, R"({"layers": [{"type": "fff",
                  "convention": "fastfeedforward"}]})"),
              AllOf(HasSubstr("\"magic_w1\" is there"),
                    HasSubstr("one of \"master-leaf\" has it")));
}

TEST(BuilderTest, WeightsMustBeFinite) {
  SyntheticCheckpoint made;
  std::vector<float> bad(7 * 6, 1.0F);
  bad[3 * 6 + 2] = std::numeric_limits<float>::quiet_NaN();
  made.Add("X", {7, 6}, bad).AddRandom("Y", {7, 6});
  const char* sap = R"({"layers": [{"type": "fff",
                        "convention": "sap-fff"}]})";
  EXPECT_THAT(ErrorOf(made, sap),
              HasSubstr("layers[0]: tensor \"X\": found nan at index [3, 2], "
                        "every weight must be finite"));
  bad[3 * 6 + 2] = -std::numeric_limits<float>::infinity();
  made.Add("X", {7, 6}, bad);
  EXPECT_THAT(ErrorOf(made, sap), HasSubstr("found -inf at index [3, 2]"));
}

TEST(BuilderTest, LinearAndNormTensorsAreChecked) {
  SyntheticCheckpoint made;
  made.AddRandom("a.weight", {3, 4}).AddRandom("a.bias", {4});
  made.AddRandom("n.weight", {3, 1}).AddRandom("z.weight", {0, 4});
  const auto linear = [](const std::string& prefix) {
    return R"({"layers": [{"type": "linear", "prefix": ")" + prefix + R"("}]})";
  };
  EXPECT_THAT(ErrorOf(made, linear("a.")),
              HasSubstr("\"a.bias\": found shape [4], wanted [3]"));
  EXPECT_THAT(ErrorOf(made, linear("b.")),
              AllOf(HasSubstr("layers[0]: tensor \"b.weight\" is missing"),
                    HasSubstr("there are \"a.bias\"")));
  EXPECT_THAT(ErrorOf(made, linear("z.")),
              HasSubstr("\"z.weight\": found a dimension of 0"));
  EXPECT_THAT(ErrorOf(made, R"({"layers": [{"type": "layer_norm",
                  "prefix": "n."}]})"),
              HasSubstr("\"n.weight\": found shape [3, 1], wanted [width]"));
}

TEST(BuilderTest, AlignedFloatsAreSharedWithTheCheckpoint) {
  SyntheticCheckpoint made;
  made.AddRandom("X", {15, 4});
  const checkpoint::Checkpoint checkpoint = made.Build();
  TensorReader reader(checkpoint);
  const auto values = reader.Floats("X", {15, 4});
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ(reinterpret_cast<const std::byte*>(values->data()),
            checkpoint.Find("X")->bytes.data());
  EXPECT_THAT(reader.used(), ElementsAre("X"));
}

template <size_t... I>
std::set<std::string> NamesOfAllOps(std::index_sequence<I...>) {
  return {std::string(std::variant_alternative_t<I, graph::Op>::kName)...};
}

// An op that no layer type makes could be listed, but never configured.
// Adds the names of the ops that the config makes.
void CollectOps(const std::string& json, const SyntheticCheckpoint& made,
                std::set<std::string>& names) {
  const auto config = ParseModelConfig(json, "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto graph = importer::Import(*config, made.Build());
  ASSERT_TRUE(graph.ok()) << graph.status();
  for (const graph::Node& node : graph->nodes()) {
    names.insert(std::string(graph::NameOf(node.op)));
  }
}

TEST(BuilderTest, EveryOpIsMadeByALayerType) {
  std::set<std::string> made_ops;
  SyntheticCheckpoint made;
  made.AddLeafLayer("a.", 6, 2, 3, 2).AddMasterLeaf("a.", 6, 8, 3, 1.2F);
  made.AddRandom("n.weight", {3}).AddRandom("l.weight", {4, 3});
  made.AddLinearPair("p.", 4, 7, 4);
  CollectOps(R"({"layers": [
      {"type": "fff", "prefix": "a."}, {"type": "layer_norm", "prefix": "n."},
      {"type": "linear", "prefix": "l."}, {"type": "fff", "prefix": "p."},
      {"type": "activation", "activation": "tanh"}]})",
             made, made_ops);
  SyntheticCheckpoint network;
  network.AddRandom("c.weight", {4, 1, 1, 1}).AddRandom("q.weight", {12, 4});
  CollectOps(R"({"input": {"shape": [1, 4, 4]}, "layers": [
      {"type": "normalize", "scale": 0.5}, {"type": "conv2d", "prefix": "c."},
      {"type": "max_pool2d", "size": 2}, {"type": "tokens"},
      {"type": "residual", "layers": [{"type": "attention", "heads": 2,
       "qkv": "q.", "layout": "heads"}]},
      {"type": "pool", "over": "max"}]})",
             network, made_ops);
  SyntheticCheckpoint tokens;
  tokens.AddRandom("t.weight", {9, 4});
  CollectOps(R"({"input": {"datatype": "INT64", "shape": ["sequence"]},
      "layers": [{"type": "embedding", "prefix": "t."},
                 {"type": "positions", "kind": "sinusoidal", "length": 8},
                 {"type": "glu"}, {"type": "softmax"}]})",
             tokens, made_ops);
  EXPECT_EQ(made_ops,
            NamesOfAllOps(
                std::make_index_sequence<std::variant_size_v<graph::Op>>()));
}

}  // namespace
}  // namespace fff::model

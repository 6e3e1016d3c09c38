// Whole networks from config.json and a checkpoint: what becomes of each layer
// type, and what is refused.
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/model_config.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using graph::Graph;
using graph::Node;
using test::RandomRows;
using test::RunModel;
using test::SyntheticCheckpoint;
using testing::ElementsAre;
using testing::HasSubstr;

std::string Config(const std::string& shape, const std::string& layers) {
  return absl::StrCat("{\"input\": {\"shape\": ", shape,
                      "}, \"layers\": ", layers, "}");
}

absl::StatusOr<Graph> ImportText(const std::string& config,
                                 const SyntheticCheckpoint& checkpoint) {
  const auto parsed = importer::ParseModelConfig(config, "config.json");
  if (!parsed.ok()) return parsed.status();
  return importer::Import(*parsed, checkpoint.Build());
}

// The answer of a network of these layers.
std::vector<float> Answer(const std::string& shape, const std::string& layers,
                          const SyntheticCheckpoint& checkpoint,
                          const std::vector<float>& x) {
  const auto graph = ImportText(Config(shape, layers), checkpoint);
  EXPECT_TRUE(graph.ok()) << graph.status();
  if (!graph.ok()) return {};
  const auto model = BuildGraph(*graph, BuildOptions());
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? RunModel(**model, x) : std::vector<float>();
}

std::vector<std::string> OpNames(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) {
    names.emplace_back(graph::NameOf(node.op));
  }
  return names;
}

struct Refused {
  std::string shape;
  std::string layers;
  std::string why;
};

// Fields that are wrong whatever the checkpoint holds.
TEST(NetworkConfig, RefusesWhatALayerCannotBe) {
  const std::string qkv = R"([{"type": "attention", "heads": 1, "qkv": "a.", )";
  const Refused cases[] = {
      {"[3, 8, 8]", R"([{"type": "conv2d", "strides": 2}])", "strides"},
      {"[3, 8, 8]", R"([{"type": "conv2d", "stride": [1, 2, 3]}])",
       "layers[0].stride"},
      {"[3, 8, 8]", R"([{"type": "conv2d", "padding": -1}])", "padding"},
      {"[3, 8, 8]", R"([{"type": "max_pool2d"}])", "layers[0].size"},
      {"[3, 8, 8]", R"([{"type": "avg_pool2d", "size": 2, "padding": 2}])",
       "half"},
      {"[3, 8, 8]", R"([{"type": "normalize", "std": [1, 0, 1]}])", "above 0"},
      {"[3, 8, 8]",
       R"([{"type": "normalize", "mean": [1, 2], "std": [1, 2, 3]}])",
       "as \"mean\" has"},
      {"[3, 8, 8]", R"([{"type": "normalize", "mean": "half"}])", "a number"},
      {"[3, 8, 8]", R"([{"type": "patches"}])", "layers[0].size"},
      {"[2, 4]", R"([{"type": "class_token"}])", "tensor"},
      {"[2, 4]", R"([{"type": "positions", "tensor": "p"}])", "kind"},
      {"[2, 4]", R"([{"type": "positions", "kind": "learned"}])", "tensor"},
      {"[2, 4]",
       R"([{"type": "positions", "kind": "sinusoidal", "tensor": "p"}])",
       "have no tensor"},
      {"[2, 4]", R"([{"type": "pool"}])", "over"},
      {"[2, 4]", R"([{"type": "pool", "over": "median"}])", "logsumexp"},
      {"[2, 4]", qkv + R"("out": "o."}])", "layout"},
      {"[2, 4]", qkv + R"("layout": "blocks", "query": "q."}])", "either"},
      {"[2, 4]", R"([{"type": "attention", "heads": 1, "query": "q."}])",
       "either"},
      {"[2, 4]",
       R"([{"type": "attention", "heads": 1, "query": "q.", "key": "k.",
            "value": "v.", "layout": "heads"}])",
       "three blocks"},
      {"[2, 4]", R"([{"type": "repeat", "layers": [{"type": "flatten"}]}])",
       "count"},
      {"[2, 4]", R"([{"type": "repeat", "count": 2}])", "layers"},
      {"[2, 4]", R"([{"type": "rms_norm", "prefix": "n."}])",
       "layers[0].epsilon: this key is missing"},
      {"[2, 4]", R"([{"type": "glu", "gate": "left"}])", "second"},
      {"[2, 4]", R"([{"type": "softmax", "dim": 1}])", "dim"},
      {"[2, 4]", R"([{"type": "residual", "layers": []}])", "layers"},
      {"[2, 4]",
       R"([{"type": "repeat", "count": 2, "prefix": "block.",
            "layers": [{"type": "flatten"}]}])",
       "{i}"},
  };
  for (const Refused& refused : cases) {
    const auto graph = ImportText(Config(refused.shape, refused.layers),
                                  SyntheticCheckpoint());
    ASSERT_FALSE(graph.ok()) << refused.layers;
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(graph.status().message(), HasSubstr(refused.why))
        << refused.layers;
  }
}

TEST(NetworkConfig, NestsOnlySoDeep) {
  std::string layers = R"([{"type": "flatten"}])";
  for (int i = 0; i < 6; ++i) {
    layers = absl::StrCat(R"([{"type": "residual", "layers": )", layers, "}]");
  }
  const auto graph = ImportText(Config("[4]", layers), SyntheticCheckpoint());
  ASSERT_FALSE(graph.ok());
  EXPECT_THAT(graph.status().message(), HasSubstr("nest deeper than"));
}

TEST(NetworkConfig, UnrollsOnlySoManyLayers) {
  std::string layers = R"([{"type": "activation", "activation": "relu"}])";
  for (int i = 0; i < 3; ++i) {
    layers = absl::StrCat(R"([{"type": "repeat", "count": 256, "layers": )",
                          layers, "}]");
  }
  const auto graph = ImportText(Config("[4]", layers), SyntheticCheckpoint());
  ASSERT_FALSE(graph.ok());
  EXPECT_THAT(graph.status().message(), HasSubstr("more than 4096 layers"));
}

SyntheticCheckpoint Tensors() {
  SyntheticCheckpoint tensors;
  tensors.AddRandom("conv.weight", {6, 3, 5, 5}).AddRandom("conv.bias", {6});
  tensors.AddRandom("linear.weight", {4, 4}).AddRandom("wide.weight", {5, 4});
  tensors.AddRandom("t.token", {1, 1, 4}).AddRandom("p.table", {3, 4});
  tensors.AddRandom("qkv.weight", {12, 4}).AddRandom("odd.weight", {8, 4});
  tensors.AddRandom("norm.running_mean", {3});
  return tensors.Add("norm.running_var", {3}, {1, -1, 1});
}

// What the weights and the values that reach them do not fit.
TEST(NetworkImport, NamesThePlaceAndBothShapes) {
  const Refused cases[] = {
      {"[75]", R"([{"type": "conv2d", "prefix": "conv."}])",
       "wanted a picture"},
      {"[2, 8, 8]", R"([{"type": "conv2d", "prefix": "conv."}])",
       "got 2 channels, wanted 3"},
      {"[3, 4, 8]", R"([{"type": "conv2d", "prefix": "conv."}])",
       "a window of 5x5 has 0x4 places"},
      {"[3, 8, 8]", R"([{"type": "conv2d", "prefix": "conv.", "groups": 4}])",
       "does not divide"},
      {"[3, 8, 8]", R"([{"type": "max_pool2d", "size": 9}])", "0x0 places"},
      {"[3, 8, 8]", R"([{"type": "patches", "size": 3}])", "do not divide"},
      {"[4, 8, 8]", R"([{"type": "normalize", "mean": [1, 2, 3]}])",
       "got 4 channels, wanted 3"},
      {"[3, 8, 8]", R"([{"type": "batch_norm", "prefix": "norm."}])",
       "found -1 at 1"},
      {"[4]", R"([{"type": "pool", "over": "mean"}])", "wanted a sequence"},
      {"[2, 5]", R"([{"type": "class_token", "tensor": "t.token"}])",
       "found 4 elements, wanted 5"},
      {"[4, 4]",
       R"([{"type": "positions", "kind": "learned", "tensor": "p.table"}])",
       "found 12 elements, wanted 16"},
      {"[2, 4]",
       R"([{"type": "attention", "heads": 3, "qkv": "odd.", "layout": "blocks"}])",
       "do not divide by 3 * 3"},
      {"[2, 5]",
       R"([{"type": "attention", "heads": 2, "qkv": "qkv.", "layout": "blocks"}])",
       "got rows of [2, 5]"},
      {"[2, 4]",
       R"([{"type": "residual", "layers": [{"type": "linear", "prefix": "wide."}]}])",
       "its layers make [2, 5] of [2, 4]"},
      {"[2, 4]",
       R"([{"type": "residual", "layers": [{"type": "linear", "prefix": "none."}]}])",
       "layers[0].layers[0]"},
  };
  for (const Refused& refused : cases) {
    const auto graph =
        ImportText(Config(refused.shape, refused.layers), Tensors());
    ASSERT_FALSE(graph.ok()) << refused.layers;
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(graph.status().message(), HasSubstr("layers[0]"));
    EXPECT_THAT(graph.status().message(), HasSubstr(refused.why))
        << refused.layers;
  }
}

TEST(NetworkImport, FlattenedRowsAreNoSequence) {
  SyntheticCheckpoint tensors;
  tensors.AddRandom("linear.weight", {2, 4});
  const std::string linear = R"({"type": "linear", "prefix": "linear."})";
  EXPECT_TRUE(ImportText(Config("[3, 4]", "[" + linear + "]"), tensors).ok());
  const auto flat = ImportText(
      Config("[3, 4]", R"([{"type": "flatten"}, )" + linear + "]"), tensors);
  ASSERT_FALSE(flat.ok());
  EXPECT_THAT(flat.status().message(), HasSubstr("got rows of width 12"));
}

TEST(NetworkImport, NormalisationAndActivationBecomePartOfTheConvolution) {
  SyntheticCheckpoint tensors;
  tensors.Add("conv.weight", {2, 1, 1, 1}, {1, -2})
      .Add("conv.bias", {2}, {0, 1});
  tensors.Add("norm.weight", {2}, {3, 1}).Add("norm.bias", {2}, {0.5, 0});
  tensors.Add("norm.running_mean", {2}, {1, 0});
  tensors.Add("norm.running_var", {2}, {4, 1});
  tensors.AddInteger("norm.num_batches_tracked", 5);
  const std::string layers = R"([{"type": "conv2d", "prefix": "conv."},
      {"type": "batch_norm", "prefix": "norm.", "epsilon": 1e-12},
      {"type": "activation", "activation": "relu"}])";
  const auto graph = ImportText(Config("[1, 1, 3]", layers), tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(OpNames(*graph), ElementsAre("conv2d"));
  // 3 (x - 1) / 2 + 0.5 and -2 x + 1, where above zero.
  EXPECT_THAT(Answer("[1, 1, 3]", layers, tensors, {1, 3, -1}),
              testing::Pointwise(testing::FloatNear(1e-5F),
                                 {0.5F, 3.5F, 0.0F, 0.0F, 0.0F, 3.0F}));
}

TEST(NetworkImport, PixelsAreNormalisedPerChannel) {
  const std::string layers =
      R"([{"type": "normalize", "scale": 0.5, "mean": [1, 0], "std": [2, 4]}])";
  EXPECT_EQ(Answer("[2, 1, 2]", layers, SyntheticCheckpoint(), {2, 6, 8, 0}),
            (std::vector<float>{0, 1, 1, 0}));
}

TEST(NetworkImport, NormsGatesAndSoftmaxesSeeTheLastDimension) {
  SyntheticCheckpoint tensors;
  tensors.Add("norm.weight", {2}, {1, 2});
  tensors.Add("gate.weight", {4, 2}, {1, 0, 0, 1, 1, 0, 0, 1});
  tensors.Add("gate.bias", {4}, {0, 0, -1, 1});
  const std::string norm =
      R"({"type": "rms_norm", "prefix": "norm.", "epsilon": 1e-12})";
  const std::vector<float> normal =
      Answer("[2, 2]", "[" + norm + "]", tensors, {3, 4, 0, 1});
  EXPECT_THAT(normal,
              testing::Pointwise(testing::FloatNear(1e-6F),
                                 {0.8485281F, 2.2627417F, 0.0F, 2.8284271F}));
  // [x, relu(x + bias)], multiplied.
  EXPECT_EQ(Answer("[2, 2]",
                   R"([{"type": "glu", "prefix": "gate.",
                        "activation": "relu"}])",
                   tensors, {3, 4, 0, -5}),
            (std::vector<float>{6, 20, 0, 0}));
  // relu(x) gates x + bias.
  EXPECT_EQ(Answer("[2, 2]",
                   R"([{"type": "glu", "prefix": "gate.", "gate": "first",
                        "activation": "relu"}])",
                   tensors, {3, 4, 0, -5}),
            (std::vector<float>{6, 20, 0, 0}));
  EXPECT_EQ(Answer("[4]", R"([{"type": "glu", "activation": "identity"}])",
                   SyntheticCheckpoint(), {2, 3, 5, 7}),
            (std::vector<float>{10, 21}));
  EXPECT_THAT(Answer("[2, 2]", R"([{"type": "softmax"}])",
                     SyntheticCheckpoint(), {0, 0, 5, 5}),
              testing::Each(testing::FloatEq(0.5F)));
}

TEST(NetworkImport, AGateNeedsTwoHalves) {
  const auto graph =
      ImportText(Config("[5]", R"([{"type": "glu"}])"), SyntheticCheckpoint());
  ASSERT_FALSE(graph.ok());
  EXPECT_THAT(
      graph.status().message(),
      HasSubstr("layers[0] (glu): got rows of 5, wanted an even width"));
}

TEST(NetworkImport, PoolsPicturesAndSequences) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 9};
  EXPECT_EQ(Answer("[1, 2, 4]", R"([{"type": "max_pool2d", "size": 2}])",
                   SyntheticCheckpoint(), x),
            (std::vector<float>{6, 9}));
  EXPECT_EQ(Answer("[1, 2, 4]",
                   R"([{"type": "avg_pool2d", "size": [2, 3], "stride": 1}])",
                   SyntheticCheckpoint(), x),
            (std::vector<float>{4, 31.0F / 6}));
  EXPECT_EQ(Answer("[2, 4]", R"([{"type": "pool", "over": "mean"}])",
                   SyntheticCheckpoint(), x),
            (std::vector<float>{3, 4, 5, 6.5}));
  EXPECT_EQ(Answer("[2, 4]", R"([{"type": "pool", "over": "max"}])",
                   SyntheticCheckpoint(), x),
            (std::vector<float>{5, 6, 7, 9}));
  EXPECT_EQ(Answer("[2, 4]", R"([{"type": "pool", "over": "first"}])",
                   SyntheticCheckpoint(), x),
            (std::vector<float>{1, 2, 3, 4}));
  const std::vector<float> sums =
      Answer("[2, 4]", R"([{"type": "pool", "over": "logsumexp"}])",
             SyntheticCheckpoint(), x);
  ASSERT_EQ(sums.size(), 4U);
  EXPECT_NEAR(sums[3], std::log(std::exp(4.0) + std::exp(9.0)), 1e-5);
}

TEST(NetworkImport, PatchesAreRowsColumnsThenChannels) {
  // Two channels of 2x4; patches of 2x2.
  const std::vector<float> x = {0,  1,  2,  3,  4,  5,  6,  7,
                                10, 11, 12, 13, 14, 15, 16, 17};
  EXPECT_EQ(Answer("[2, 2, 4]", R"([{"type": "patches", "size": 2}])",
                   SyntheticCheckpoint(), x),
            (std::vector<float>{0, 10, 1, 11, 4, 14, 5, 15, 2, 12, 3, 13, 6, 16,
                                7, 17}));
  EXPECT_EQ(Answer("[2, 2, 2]", R"([{"type": "tokens"}])",
                   SyntheticCheckpoint(), {0, 1, 2, 3, 10, 11, 12, 13}),
            (std::vector<float>{0, 10, 1, 11, 2, 12, 3, 13}));
  // Itself; moved right, left, down, up: zeros come in.
  EXPECT_EQ(Answer("[1, 2, 2]", R"([{"type": "shifted_patches", "size": 2}])",
                   SyntheticCheckpoint(), {1, 2, 3, 4}),
            (std::vector<float>{1, 0, 2, 0, 3, 2, 1, 0, 0, 4,
                                3, 0, 4, 1, 0, 4, 3, 0, 2, 0}));
}

TEST(NetworkImport, PutsATokenInFrontAndAddsPositions) {
  SyntheticCheckpoint tensors;
  tensors.Add("cls", {1, 1, 2}, {7, 8})
      .Add("table", {1, 4, 2}, {1, 2, 3, 4, 5, 6, 9, 9});
  EXPECT_EQ(Answer("[2, 2]",
                   R"([{"type": "class_token", "tensor": "cls"},
                       {"type": "positions", "kind": "learned", "tensor": "table"}])",
                   tensors, {10, 20, 30, 40}),
            (std::vector<float>{8, 10, 13, 24, 35, 46}));
  tensors = SyntheticCheckpoint();
  tensors.Add("scale", {1}, {2});
  const std::vector<float> sines = Answer(
      "[2, 3]",
      R"([{"type": "positions", "kind": "sinusoidal", "scale": "scale"}])",
      tensors, {0, 0, 0, 0, 0, 0});
  const std::vector<float> wanted = {
      0,
      2,
      0,
      2 * std::sin(1.0F),
      2 * std::cos(1.0F),
      2 * std::sin(std::pow(10000.0F, -2.0F / 3))};
  EXPECT_THAT(sines, testing::Pointwise(testing::FloatNear(1e-6F), wanted));
}

// A block of an FFF layer per token, twice.
TEST(NetworkImport, RepeatsUnrollAndTokensTakeWaysOfTheirOwn) {
  SyntheticCheckpoint tensors;
  for (const char* block : {"b.0.", "b.1."}) {
    tensors.AddLeafLayer(absl::StrCat(block, "ff."), 4, 2, 4, 3);
  }
  const std::string layers = R"([{"type": "repeat", "count": 2,
      "prefix": "b.{i}.", "layers": [{"type": "residual", "layers": [
      {"type": "fff", "convention": "fastfeedforward", "prefix": "ff."}]}]}])";
  const auto graph = ImportText(Config("[3, 4]", layers), tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(OpNames(*graph),
              ElementsAre("fff_leaf", "add", "fff_leaf", "add"));
  EXPECT_EQ(graph->nodes()[0].tokens, 3);
  EXPECT_EQ(graph->outputs()[0].shape, (tensor::Shape{3, 4}));
  const auto one_row =
      Visit(graph->nodes()[0].op, [](const auto& op) { return op.cost(); });
  EXPECT_EQ(graph->cost().flops, 2 * (3 * one_row.flops + 12));

  const auto model = BuildGraph(*graph, BuildOptions());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->layers()[0].routing.ways(), 3);
  // A token's answer is that of a network which sees nothing else.
  const std::vector<float> x = RandomRows(5, 12);
  Routes routes;
  routes.Prepare(**model, 5, /*margins=*/true);
  const std::vector<float> y = RunModel(**model, x, routes.sinks());
  const auto single = ImportText(Config("[4]", layers), tensors);
  ASSERT_TRUE(single.ok()) << single.status();
  const auto one = BuildGraph(*single, BuildOptions());
  ASSERT_TRUE(one.ok()) << one.status();
  Routes alone;
  alone.Prepare(**one, 15, /*margins=*/true);
  EXPECT_EQ(y, RunModel(**one, x, alone.sinks()));
  for (const size_t layer : {0U, 2U}) {
    EXPECT_EQ(routes.leaves(layer), alone.leaves(layer));
    EXPECT_EQ(routes.margins(layer), alone.margins(layer));
  }
}

TEST(NetworkImport, BlocksBeyondTheCountAreLeftovers) {
  SyntheticCheckpoint tensors;
  for (int i = 0; i < 3; ++i) {
    tensors.AddRandom(absl::StrCat("b.", i, ".l.weight"), {4, 4});
  }
  tensors.AddRandom("b.extra.weight", {4});
  const auto layers = [](int count) {
    return absl::StrCat(R"([{"type": "repeat", "count": )", count,
                        R"(, "prefix": "b.{i}.", "layers": [
                        {"type": "linear", "prefix": "l."}]}])");
  };
  EXPECT_TRUE(ImportText(Config("[4]", layers(3)), tensors).ok());
  const auto fewer = ImportText(Config("[4]", layers(2)), tensors);
  ASSERT_FALSE(fewer.ok());
  EXPECT_THAT(fewer.status().message(),
              HasSubstr("1 tensor that no layer uses: \"b.2.l.weight\""));
}

TEST(NetworkImport, TheTwinSharesAllButTheTrees) {
  SyntheticCheckpoint tensors;
  tensors.AddLeafLayer("ff.", 4, 2, 4, 2).AddRandom("out.weight", {2, 4});
  const auto graph =
      ImportText(Config("[3, 4]", R"([{"type": "residual", "layers": [
          {"type": "fff", "prefix": "ff.", "convention": "fastfeedforward"}]},
          {"type": "pool", "over": "mean"},
          {"type": "linear", "prefix": "out."}])"),
                 tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto twin =
      BuildCostTwin(importer::ModelConfig(), *graph, BuildOptions());
  ASSERT_TRUE(twin.ok()) << twin.status();
  EXPECT_THAT(OpNames(twin->model->graph()),
              ElementsAre("linear", "linear", "add", "pool_tokens", "linear"));
  EXPECT_EQ(std::get<graph::Linear>(twin->model->graph().nodes()[4].op).weights,
            std::get<graph::Linear>(graph->nodes()[3].op).weights);
  EXPECT_EQ(RunModel(*twin->model, RandomRows(2, 12)).size(), 4U);
}

}  // namespace
}  // namespace fff::model

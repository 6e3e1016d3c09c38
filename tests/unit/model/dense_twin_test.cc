#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/graph/passes.h"
#include "server/importer/dense_names.h"
#include "server/model/builder.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using importer::DetectDenseLayers;
using importer::LayerConfig;
using importer::ModelConfig;
using importer::NaturallyBefore;
using importer::ParseModelConfig;
using test::RandomRows;
using test::RunModel;
using test::SyntheticCheckpoint;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelConfig Config(absl::string_view json) {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

DenseTwin CostTwin(const SyntheticCheckpoint& made,
                   absl::string_view json = "{}") {
  auto twin = test::BuildCostTwinFrom(Config(json), made.Build());
  EXPECT_TRUE(twin.ok()) << twin.status();
  return *twin;
}

std::vector<std::string> Descriptions(const Model& model) {
  std::vector<std::string> lines;
  for (const auto& layer : model.layers()) {
    lines.push_back(layer.type + " " + layer.description);
  }
  return lines;
}

// Outputs of twin and model on random rows are the same up to rounding.
void ExpectSame(const SyntheticCheckpoint& made, absl::string_view json) {
  const auto fff = test::BuildFrom(Config(json), made.Build());
  ASSERT_TRUE(fff.ok()) << fff.status();
  const DenseTwin twin = CostTwin(made, json);
  const std::vector<float> x = RandomRows(11, (*fff)->input().width());
  const std::vector<float> a = RunModel(**fff, x);
  const std::vector<float> b = RunModel(*twin.model, x);
  ASSERT_EQ(a.size(), b.size());
  // Sums of fewer than 64 terms of order one.
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
}

TEST(CostTwinTest, APathLayerBecomesItsNodesEvaluatedDensely) {
  SyntheticCheckpoint made;
  made.AddLinearPair("", 12, 31, 5);
  const DenseTwin twin = CostTwin(made);
  EXPECT_FALSE(twin.trained);
  EXPECT_EQ(twin.description,
            "cost baseline: the FFF's own 31 nodes evaluated densely; outputs "
            "carry no meaning");
  EXPECT_THAT(
      Descriptions(*twin.model),
      ElementsAre("linear 12 -> 31, gelu", "linear 31 -> 5 without bias"));
  EXPECT_EQ(twin.model->cost().flops, 2 * 12 * 31 + 2 * 31 * 5);
}

TEST(CostTwinTest, PathWeightsAreTheCheckpointsOwn) {
  SyntheticCheckpoint made;
  made.AddLinearPair("", 12, 31, 5);
  const checkpoint::Checkpoint checkpoint = made.Build();
  const auto fff = importer::Import(ModelConfig(), checkpoint);
  ASSERT_TRUE(fff.ok()) << fff.status();
  const auto dense = graph::Densify(*fff);
  ASSERT_TRUE(dense.ok()) << dense.status();
  ASSERT_EQ(dense->nodes().size(), 2u);
  const auto bytes = [&](const char* name) {
    return reinterpret_cast<const float*>(checkpoint.Find(name)->bytes.data());
  };
  const auto& hidden = std::get<graph::Linear>(dense->nodes()[0].op).weights;
  const auto& output = std::get<graph::Linear>(dense->nodes()[1].op).weights;
  EXPECT_EQ(hidden->w.data(), bytes("linear_in.weight"));
  EXPECT_EQ(hidden->bias.data(), bytes("linear_in.bias"));
  EXPECT_EQ(output->w.data(), bytes("linear_out.weight"));
}

TEST(CostTwinTest, EqualsTheModelWhereEveryNodeIsVisited) {
  SyntheticCheckpoint one_node;
  one_node.AddLinearPair("", 12, 1, 5);
  ExpectSame(one_node, "{}");
  // 31 trees of one level: every node is a root.
  SyntheticCheckpoint roots;
  roots.AddLinearPair("", 12, 31, 5);
  ExpectSame(roots, R"({"layers": [{"type": "fff", "trees": 31}]})");
  SyntheticCheckpoint rows;
  rows.AddRandom("X", {31, 12}).AddRandom("Y", {31, 5});
  ExpectSame(rows, R"({"layers": [{"type": "fff", "convention": "sap-fff",
                                   "trees": 31}]})");
}

TEST(CostTwinTest, EqualsTheModelWhereThereIsOneLeaf) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 12, 7, 5, 0);
  ExpectSame(made, "{}");
  ExpectSame(made, R"({"layers": [{"type": "fff", "output_bias": false}]})");
}

TEST(CostTwinTest, EqualsTheModelWhereOneLeafStandsBesideAMasterLeaf) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 12, 3, 5, 0).AddMasterLeaf("", 12, 8, 5, 0.5F);
  ExpectSame(made, "{}");
}

TEST(CostTwinTest, EqualsTheModelWhereAllLeavesButOneAreSilent) {
  // Leaf 0 has no output weights and both leaves the same output bias; every
  // row goes to leaf 1, whose answer the dense network then gives too.
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 3, 2, 2, 1);
  made.Add("node_weights", {1, 3}, {0, 0, 0}).Add("node_biases", {1, 1}, {1});
  made.Add("w2s", {2, 2, 2}, {0, 0, 0, 0, 1, 2, 3, 4});
  made.Add("b2s", {2, 2}, {5, 7, 5, 7});
  ExpectSame(made, "{}");
}

TEST(CostTwinTest, ALeafLayerBecomesItsLeavesSideBySide) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 12, 3, 5, 2);
  const DenseTwin twin = CostTwin(made);
  EXPECT_EQ(twin.description,
            "cost baseline: the FFF's own 4 leaves of 3 neurons evaluated "
            "densely; outputs carry no meaning");
  EXPECT_THAT(Descriptions(*twin.model),
              ElementsAre("linear 12 -> 12, relu", "linear 12 -> 5"));
}

TEST(CostTwinTest, AMasterLeafStandsBesideTheOthers) {
  SyntheticCheckpoint made;
  made.AddLeafLayer("", 12, 3, 5, 2).AddMasterLeaf("", 12, 8, 5, 0.5F);
  const DenseTwin twin = CostTwin(made);
  EXPECT_THAT(twin.description,
              HasSubstr("4 leaves of 3 neurons and a master leaf of 8"));
  EXPECT_THAT(Descriptions(*twin.model),
              ElementsAre("linear 12 -> 20, relu", "linear 20 -> 5"));
  // Sum of all neurons, leaves and master leaf each by its share.
  const double share = 1 / (1 + std::exp(-0.5));
  const std::vector<float> x = RandomRows(3, 12);
  const std::vector<float> all = RunModel(*twin.model, x);
  SyntheticCheckpoint leaves_only;
  leaves_only.AddLeafLayer("", 12, 3, 5, 2);
  const std::vector<float> leaves = RunModel(*CostTwin(leaves_only).model, x);
  const std::vector<float> magic_w1 = made.ValuesOf("magic_w1");
  const std::vector<float> magic_b1 = made.ValuesOf("magic_b1");
  const std::vector<float> magic_w2 = made.ValuesOf("magic_w2");
  const std::vector<float> magic_b2 = made.ValuesOf("magic_b2");
  for (size_t row = 0; row < 3; ++row) {
    for (size_t o = 0; o < 5; ++o) {
      double master = magic_b2[o];
      for (size_t m = 0; m < 8; ++m) {
        double hidden = magic_b1[m];
        for (size_t i = 0; i < 12; ++i) {
          hidden += x[row * 12 + i] * magic_w1[i * 8 + m];
        }
        master += std::max(hidden, 0.0) * magic_w2[m * 5 + o];
      }
      EXPECT_NEAR(all[row * 5 + o],
                  share * leaves[row * 5 + o] + (1 - share) * master, 1e-5);
    }
  }
}

TEST(CostTwinTest, OtherLayersStayAndLabelsGo) {
  SyntheticCheckpoint made;
  made.AddLinearPair("fff.", 12, 7, 5);
  made.AddRandom("head.weight", {2, 5});
  const DenseTwin twin = CostTwin(made, R"({
      "input": {"name": "x", "shape": [3, 4]},
      "output": {"name": "y", "labels": ["a", "b"]},
      "layers": [{"type": "flatten"}, {"type": "fff", "prefix": "fff."},
                 {"type": "activation", "activation": "relu"},
                 {"type": "linear", "prefix": "head."}]})");
  EXPECT_THAT(Descriptions(*twin.model),
              ElementsAre("flatten to 12", "linear 12 -> 7, gelu",
                          "linear 7 -> 5 without bias", "activation relu of 5",
                          "linear 5 -> 2 without bias"));
  EXPECT_EQ(twin.model->input().name, "x");
  EXPECT_THAT(twin.model->input().shape, ElementsAre(3, 4));
  EXPECT_THAT(twin.model->output().labels, IsEmpty());
}

TEST(CostTwinTest, SeveralLayersShareOneSentence) {
  SyntheticCheckpoint made;
  made.AddLinearPair("a.", 6, 7, 6).AddLeafLayer("b.", 6, 2, 3, 1);
  const DenseTwin twin = CostTwin(made, R"({"layers": [
      {"type": "fff", "prefix": "a."}, {"type": "fff", "prefix": "b."}]})");
  EXPECT_THAT(twin.description, HasSubstr("7 nodes + 2 leaves of 2 neurons"));
}

TEST(CostTwinTest, AModelWithoutFffSaysSo) {
  SyntheticCheckpoint made;
  made.AddRandom("weight", {3, 4});
  const DenseTwin twin = CostTwin(made, R"({"layers": [{"type": "linear"}],
      "output": {"labels": ["a", "b", "c"]}})");
  EXPECT_THAT(twin.description, HasSubstr("no FFF layer"));
  EXPECT_THAT(twin.model->output().labels, ElementsAre("a", "b", "c"));
}

class TrainedTwinTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SyntheticCheckpoint made;
    made.AddLeafLayer("", 12, 3, 2, 2);
    auto model = test::BuildFrom(Config(R"({"input": {"shape": [3, 4]},
                   "output": {"labels": ["cat", "dog"]}})"),
                                 made.Build());
    ASSERT_TRUE(model.ok()) << model.status();
    fff_ = *model;
  }

  absl::StatusOr<DenseTwin> Build(const SyntheticCheckpoint& dense,
                                  absl::string_view json = "{}") {
    return BuildTrainedTwin(Config(json), dense.Build(), fff_->graph(), {});
  }
  std::string ErrorOf(const SyntheticCheckpoint& dense,
                      absl::string_view json = "{}") {
    const auto twin = Build(dense, json);
    EXPECT_EQ(twin.status().code(), absl::StatusCode::kInvalidArgument)
        << twin.status();
    return std::string(twin.status().message());
  }

  std::shared_ptr<const Model> fff_;
};

TEST_F(TrainedTwinTest, ReadsLinearLayersWithReluBetween) {
  SyntheticCheckpoint dense("v/dense.safetensors");
  dense.AddRandom("0.weight", {16, 12}).AddRandom("0.bias", {16});
  dense.AddRandom("2.weight", {2, 16}).AddRandom("2.bias", {2});
  const auto twin = Build(dense);
  ASSERT_TRUE(twin.ok()) << twin.status();
  EXPECT_TRUE(twin->trained);
  EXPECT_EQ(twin->description,
            "trained dense network from dense.safetensors: 12 -> 16 relu -> 2");
  ASSERT_EQ(twin->assumed.size(), 1u);
  EXPECT_THAT(twin->assumed[0],
              HasSubstr("dense.safetensors: no tensor tells the activation "
                        "between its linear layers, taken as relu"));
  EXPECT_THAT(Descriptions(*twin->model),
              ElementsAre("linear 12 -> 16, relu", "linear 16 -> 2"));
  EXPECT_THAT(twin->model->input().shape, ElementsAre(3, 4));
  EXPECT_THAT(twin->model->output().labels, ElementsAre("cat", "dog"));
}

TEST_F(TrainedTwinTest, DenseLayersSayWhatNamesCannot) {
  SyntheticCheckpoint dense;
  dense.AddRandom("hidden.weight", {16, 12}).AddRandom("hidden.bias", {16});
  dense.AddRandom("norm.weight", {16});
  dense.AddRandom("head.weight", {2, 16});
  EXPECT_THAT(ErrorOf(dense),
              AllOf(HasSubstr("\"norm.weight\" [16] is not the weight or bias"),
                    HasSubstr("\"dense_layers\": [{")));
  const auto twin = Build(dense, R"({"dense_layers": [
      {"type": "linear", "prefix": "hidden."},
      {"type": "layer_norm", "prefix": "norm."},
      {"type": "activation", "activation": "gelu"},
      {"type": "linear", "prefix": "head."}]})");
  ASSERT_TRUE(twin.ok()) << twin.status();
  EXPECT_THAT(twin->description, HasSubstr("12 -> 16 layer_norm gelu -> 2"));
}

TEST_F(TrainedTwinTest, WidthsMustBeTheModels) {
  SyntheticCheckpoint input("dense.safetensors");
  input.AddRandom("0.weight", {16, 11}).AddRandom("2.weight", {2, 16});
  EXPECT_THAT(ErrorOf(input),
              HasSubstr("dense.safetensors: the dense network has input width "
                        "11, wanted 12, the FFF model's"));
  SyntheticCheckpoint output;
  output.AddRandom("0.weight", {16, 12}).AddRandom("2.weight", {3, 16});
  EXPECT_THAT(ErrorOf(output), HasSubstr("output width 3, wanted 2"));
}

TEST_F(TrainedTwinTest, LeftoversOfListedLayersAreErrors) {
  SyntheticCheckpoint dense;
  dense.AddRandom("weight", {2, 12}).AddRandom("x.weight", {2, 2});
  EXPECT_THAT(ErrorOf(dense, R"({"dense_layers": [{"type": "linear"}]})"),
              HasSubstr("1 tensor that no layer uses: \"x.weight\""));
}

std::vector<std::string> Prefixes(const SyntheticCheckpoint& dense) {
  const auto layers = DetectDenseLayers(dense.Build());
  EXPECT_TRUE(layers.ok()) << layers.status();
  std::vector<std::string> prefixes;
  for (const LayerConfig& layer : *layers) {
    prefixes.push_back(layer.prefix);
  }
  return prefixes;
}

TEST(DetectDenseLayersTest, OrdersNamesByTheirNumber) {
  SyntheticCheckpoint dense;
  for (int i = 1; i <= 12; ++i) {
    dense.AddRandom("net.fc" + std::to_string(i) + ".weight", {4, 4});
  }
  const std::vector<std::string> prefixes = Prefixes(dense);
  ASSERT_EQ(prefixes.size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(prefixes[i], "net.fc" + std::to_string(i + 1) + ".");
  }
  const auto layers = DetectDenseLayers(dense.Build());
  EXPECT_EQ(layers->front().activation, graph::Activation::kRelu);
  EXPECT_EQ(layers->back().activation, std::nullopt);
}

TEST(DetectDenseLayersTest, OneLayerMayHaveAnyName) {
  SyntheticCheckpoint bare;
  bare.AddRandom("weight", {2, 3}).AddRandom("bias", {2});
  EXPECT_THAT(Prefixes(bare), ElementsAre(""));
  SyntheticCheckpoint named;
  named.AddRandom("classifier.weight", {2, 3});
  EXPECT_THAT(Prefixes(named), ElementsAre("classifier."));
}

TEST(DetectDenseLayersTest, NamesThatDoNotTellTheOrderAreRefused) {
  const auto message = [](const SyntheticCheckpoint& dense) {
    const auto layers = DetectDenseLayers(dense.Build());
    EXPECT_EQ(layers.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(layers.status().message());
  };
  SyntheticCheckpoint words;
  words.AddRandom("hidden.weight", {4, 4}).AddRandom("out.weight", {4, 4});
  EXPECT_THAT(message(words),
              AllOf(HasSubstr("\"hidden.\" and \"out.\" do not tell"),
                    HasSubstr("dense_layers")));
  SyntheticCheckpoint two_numbers;
  two_numbers.AddRandom("a1.b1.weight", {4, 4});
  two_numbers.AddRandom("a2.b2.weight", {4, 4});
  EXPECT_THAT(message(two_numbers), HasSubstr("do not tell"));
  SyntheticCheckpoint widths;
  widths.AddRandom("0.weight", {4, 3}).AddRandom("2.weight", {4, 5});
  EXPECT_THAT(message(widths), HasSubstr("\"2.weight\" takes width 5, but "
                                         "\"0.weight\" gives 4"));
  EXPECT_THAT(message(SyntheticCheckpoint()),
              HasSubstr("found 0 linear layers"));
}

TEST(NaturalOrderTest, RunsOfDigitsAreNumbers) {
  EXPECT_TRUE(NaturallyBefore("fc2.", "fc10."));
  EXPECT_FALSE(NaturallyBefore("fc10.", "fc2."));
  EXPECT_TRUE(NaturallyBefore("a9.b", "a9.c"));
  EXPECT_TRUE(NaturallyBefore("a09.", "a10."));
  EXPECT_FALSE(NaturallyBefore("a1.", "a1."));
  EXPECT_TRUE(NaturallyBefore("", "a"));
  EXPECT_TRUE(
      NaturallyBefore("l99999999999999999998", "l99999999999999999999"));
}

}  // namespace
}  // namespace fff::model

#include "server/model/model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model/builder.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using importer::ParseModelConfig;
using test::RandomRows;
using test::RunModel;
using test::SyntheticCheckpoint;

TEST(ModelTest, CostAndBytesAreSummedOverLayers) {
  const auto graph = importer::Import(
      importer::ModelConfig(),
      SyntheticCheckpoint().AddLeafLayer("", 12, 3, 5, 2).Build());
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto model = BuildGraph(*graph, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const LayerFacts& layer = (*model)->layers()[0];
  EXPECT_EQ((*model)->weights_bytes(), layer.weights_bytes);
  EXPECT_EQ((*model)->cost().flops, layer.cost.flops);
  EXPECT_EQ((*model)->cost().weight_bytes, layer.cost.weight_bytes);
  EXPECT_GT(layer.cost.weight_bytes, 0);
}

TEST(ModelTest, AMasterLeafIsOneLayerOfFourOps) {
  const auto graph = importer::Import(importer::ModelConfig(),
                                      SyntheticCheckpoint()
                                          .AddLeafLayer("", 19, 3, 7, 2)
                                          .AddMasterLeaf("", 19, 8, 7, 0.0F)
                                          .Build());
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->nodes().size(), 4u);
  const auto model = BuildGraph(*graph, {});
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ((*model)->layers().size(), 1u);
  const LayerFacts& layer = (*model)->layers()[0];
  EXPECT_EQ(layer.type, "fff");
  EXPECT_EQ(layer.routing.family, graph::RoutingShape::Family::kLeaf);
  EXPECT_EQ(layer.routing.trees, 1);
  EXPECT_EQ(layer.routing.decisions, 2);
  EXPECT_EQ(layer.routing.depth, 2);
  EXPECT_THAT(layer.description,
              testing::HasSubstr("master leaf of width 8, relu, weighs 0.500"));
  const double tree = 2 * 2 * 19 + 2 * 19 * 3 + 2 * 3 * 7;
  EXPECT_EQ(layer.cost.flops, tree + 2 * 19 * 8 + 2 * 8 * 7 + 3 * 7);
  EXPECT_EQ(layer.neurons.all, 4 * 3 + 8);
  EXPECT_EQ(layer.neurons.used, 2 + 3 + 8);
  EXPECT_EQ((*model)->KernelSteps(0)[0].kernel.find("leaf_"), 0u);
}

// A model of every layer type.
std::shared_ptr<const Model> Mixed() {
  SyntheticCheckpoint made;
  made.AddLeafLayer("fff.", 24, 5, 17, 3);
  made.AddRandom("norm.weight", {17}).AddRandom("norm.bias", {17});
  made.AddRandom("head.weight", {9, 17}).AddRandom("head.bias", {9});
  made.AddLinearPair("out.", 9, 31, 3);
  const auto config = ParseModelConfig(R"({
      "input": {"shape": [2, 3, 4]},
      "layers": [
        {"type": "flatten"},
        {"type": "fff", "prefix": "fff."},
        {"type": "layer_norm", "prefix": "norm."},
        {"type": "activation", "activation": "gelu"},
        {"type": "linear", "prefix": "head.", "activation": "tanh"},
        {"type": "fff", "prefix": "out."}]})",
                                       "c");
  EXPECT_TRUE(config.ok()) << config.status();
  const auto model = test::BuildFrom(*config, made.Build());
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

TEST(ModelTest, ARowDoesNotDependOnBatchOrThreads) {
  const auto model = Mixed();
  const int64_t rows = 33;
  const std::vector<float> x = RandomRows(rows, 24);
  const auto routed = [&](const std::vector<float>& from, int threads,
                          std::vector<int32_t>* first,
                          std::vector<int32_t>* last) {
    first->assign(from.size() / 24, -1);
    last->assign(from.size() / 24, -1);
    std::vector<engine::RouteSink> sinks(model->layers().size());
    sinks[1].leaves = first->data();
    sinks[5].leaves = last->data();
    return RunModel(*model, from, sinks, threads);
  };
  std::vector<int32_t> first;
  std::vector<int32_t> last;
  const std::vector<float> whole = routed(x, 1, &first, &last);
  std::vector<int32_t> first2;
  std::vector<int32_t> last2;
  const std::vector<float> threaded = routed(x, 2, &first2, &last2);
  EXPECT_EQ(first, first2);
  EXPECT_EQ(last, last2);
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<float> row(x.begin() + r * 24, x.begin() + (r + 1) * 24);
    const std::vector<float> alone = routed(row, 1, &first2, &last2);
    EXPECT_EQ(first2[0], first[static_cast<size_t>(r)]);
    EXPECT_EQ(last2[0], last[static_cast<size_t>(r)]);
    for (size_t i = 0; i < 3; ++i) {
      const size_t at = static_cast<size_t>(r) * 3 + i;
      // Sums of at most 24 terms of order one through five layers.
      EXPECT_NEAR(alone[i], whole[at], 1e-5);
      EXPECT_NEAR(threaded[at], whole[at], 1e-5);
    }
  }
}

}  // namespace
}  // namespace fff::model

#include "server/model/node_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using test::SyntheticCheckpoint;
using ::testing::ElementsAre;

constexpr char kLinear[] = R"({"type": "linear", "prefix": "a."},)";
constexpr char kRelu[] = R"({"type": "activation", "activation": "relu"},)";
constexpr char kFff[] =
    R"({"type": "fff", "convention": "sap-fff", "prefix": "f."},)";

importer::ModelConfig NetworkConfig(std::string layers) {
  layers.pop_back();  // the comma behind the last
  const auto config = importer::ParseModelConfig(
      absl::StrCat(R"({"layers": [)", layers, "]}"), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

// Layers of 5 columns: "a." and "b." are linear, "f." has 7 nodes.
SyntheticCheckpoint Weights() {
  SyntheticCheckpoint made;
  for (const char* prefix : {"a.", "b.", "c."}) {
    made.AddRandom(absl::StrCat(prefix, "weight"), {5, 5});
  }
  made.AddRandom("f.X", {7, 5}).AddRandom("f.Y", {7, 5});
  return made;
}

std::shared_ptr<const Model> Build(const std::string& layers,
                                   const SyntheticCheckpoint& weights) {
  auto built = test::BuildFrom(NetworkConfig(layers), weights.Build());
  EXPECT_TRUE(built.ok()) << built.status();
  return *std::move(built);
}
std::shared_ptr<const Model> Build(const std::string& layers) {
  return Build(layers, Weights());
}

std::string Linear(const std::string& prefix) {
  return absl::StrCat(R"({"type": "linear", "prefix": ")", prefix, R"("},)");
}

TEST(NodeGroups, LayersThatAreDescribedAlikeAreOneGroup) {
  const auto model = Build(absl::StrCat(Linear("a."), Linear("b."), kFff));
  const NodeGroups groups = NodeGroups::Of(*model);
  ASSERT_EQ(groups.groups.size(), 2U);
  EXPECT_THAT(groups.of_node, ElementsAre(0, 0, 1));
  EXPECT_EQ(groups.groups[0].layer, "linear: 5 -> 5 without bias");
  EXPECT_EQ(groups.groups[0].count, 2);
  EXPECT_FALSE(groups.groups[0].feedforward);
  EXPECT_TRUE(groups.groups[1].feedforward);
  EXPECT_EQ(groups.groups[1].first_layer, 2U);
  EXPECT_TRUE(groups.Divide());
}

TEST(NodeGroups, ALayerAloneAndADenseNetworkAreNotDivided) {
  EXPECT_FALSE(NodeGroups::Of(*Build(kFff)).Divide());
  EXPECT_FALSE(NodeGroups::Of(*Build(absl::StrCat(kFff, kFff))).Divide());
  const std::string dense = absl::StrCat(kRelu, Linear("a."));
  EXPECT_GT(NodeGroups::Of(*Build(dense)).groups.size(), 1U);
  EXPECT_FALSE(NodeGroups::Of(*Build(dense)).Divide());
}

TEST(NodeGroups, WhatStandsForAnFffLayerIsInItsGroup) {
  const auto fff = Build(absl::StrCat(Linear("a."), kFff, Linear("b.")));
  const auto dense = Build(absl::StrCat(Linear("a."), Linear("b."), kRelu,
                                        Linear("c."), Linear("b.")));
  const auto twin = NodeGroups::OfTwin(*dense, *fff);
  ASSERT_TRUE(twin.has_value());
  ASSERT_EQ(twin->groups.size(), 2U);
  // The activation is part of its product. The last layer looks like those of
  // the pair before it.
  EXPECT_THAT(twin->of_node, ElementsAre(0, 1, 1, 0));
  EXPECT_EQ(twin->groups[1].layer,
            "linear: 5 -> 5 without bias, relu; linear: 5 -> 5 without bias");
  EXPECT_TRUE(twin->groups[1].routes);
  EXPECT_TRUE(twin->groups[1].feedforward);
}

// A trained twin's product takes the activation that is a node of its own
// behind the FFF layer.
TEST(NodeGroups, AnActivationMayBePartOfWhatStandsForTheFffLayer) {
  const auto fff = Build(absl::StrCat(kFff, kRelu, Linear("a.")));
  ASSERT_EQ(fff->graph().nodes().size(), 3U);
  const auto dense =
      Build(absl::StrCat(Linear("b."), kRelu, Linear("c."), kRelu, kLinear));
  ASSERT_EQ(dense->graph().nodes().size(), 3U);
  const auto twin = NodeGroups::OfTwin(*dense, *fff);
  ASSERT_TRUE(twin.has_value());
  EXPECT_THAT(twin->of_node, ElementsAre(0, 0, 2));
  EXPECT_EQ(twin->groups[1].layer, "");
}

TEST(NodeGroups, AMasterLeafIsPartOfItsLayer) {
  SyntheticCheckpoint weights = Weights();
  weights.AddLeafLayer("f.", 5, 2, 5, 2).AddMasterLeaf("f.", 5, 8, 5, 1.2F);
  const std::string layers = absl::StrCat(
      kLinear, R"({"type": "fff", "convention": "master-leaf", "prefix": )",
      R"("f."},)");
  const auto fff = Build(layers, weights);
  const NodeGroups groups = NodeGroups::Of(*fff);
  ASSERT_EQ(groups.groups.size(), 5U);
  for (size_t i = 1; i < 5; ++i) EXPECT_TRUE(groups.groups[i].feedforward);
  auto built = test::BuildCostTwinFrom(NetworkConfig(layers), weights.Build());
  ASSERT_TRUE(built.ok()) << built.status();
  const auto twin = NodeGroups::OfTwin(*built->model, *fff);
  ASSERT_TRUE(twin.has_value());
  EXPECT_EQ(twin->of_node.size(), built->model->graph().nodes().size());
  for (size_t i = 1; i < twin->of_node.size(); ++i) {
    EXPECT_TRUE(twin->groups[twin->of_node[i]].feedforward);
  }
}

TEST(NodeGroups, OfANetworkThatDiffersElsewhereNothingIsSaid) {
  const auto fff = Build(absl::StrCat(Linear("a."), kFff, Linear("b.")));
  for (const std::string& other :
       {absl::StrCat(Linear("a."), Linear("b.")),  // nothing for the FFF layer
        absl::StrCat(Linear("a."), kRelu, Linear("c."), Linear("b.")),
        absl::StrCat(Linear("a."), Linear("b."), Linear("c."), kRelu)}) {
    EXPECT_FALSE(NodeGroups::OfTwin(*Build(other), *fff).has_value()) << other;
  }
}

}  // namespace
}  // namespace fff::model

#include "server/graph/graph.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/graph/passes.h"
#include "tests/unit/graph/test_graphs.h"

namespace fff::graph {
namespace {

using test::Chain;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(GraphTest, PrintsOneLinePerValue) {
  const Graph graph = Chain(
      4, {test::RandomLinear(4, 6), test::Relu(6), test::RandomPath(6, 2, 3)});
  EXPECT_EQ(graph.Print(),
            "%0 = input \"x\": F32 [rows, 4]\n"
            "%1 = linear(%0) 4 -> 6: F32 [rows, 6]\n"
            "%2 = activation(%1) relu of 6: F32 [rows, 6]\n"
            "%3 = fff_path(%2) 6 -> 2, 1 tree of 3 levels (7 nodes), gelu, "
            "right when z >= 0: F32 [rows, 2]\n"
            "output \"output\" = %3\n");
  EXPECT_TRUE(graph.RoutesBehind(0));
  EXPECT_TRUE(graph.RoutesBehind(1));
  EXPECT_FALSE(graph.RoutesBehind(2));
  EXPECT_EQ(graph.ProducerOf(0), nullptr);
  EXPECT_EQ(graph.ProducerOf(3), &graph.nodes()[2]);
}

TEST(GraphTest, TypesThatDoNotFitAreRefused) {
  GraphBuilder builder;
  const ValueId x = builder.AddInput(test::PortOf("x", 4));
  builder.BeginLayer({});
  const auto wide = builder.Add(test::RandomLinear(5, 6), x);
  EXPECT_EQ(wide.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wide.status().message()),
              HasSubstr("got rows of width 4, wanted 5"));
  const auto one_input = builder.Add(test::HalfBlend(4), x);
  EXPECT_THAT(std::string(one_input.status().message()),
              HasSubstr("blend: got 1 inputs, wanted 2"));
  const absl::Status shape = builder.AddOutput({"y", {}, {3}, {}}, x);
  EXPECT_THAT(std::string(shape.message()),
              HasSubstr("output.shape: found [3]"));
  const absl::Status labels = builder.AddOutput({"y", {}, {}, {"a"}}, x);
  EXPECT_THAT(std::string(labels.message()),
              HasSubstr("output.labels: found 1 labels, wanted 4"));
}

TEST(GraphTest, OutputsHaveNamesOfTheirOwn) {
  GraphBuilder builder;
  const ValueId x = builder.AddInput({"x", tensor::DataType::kF32, {2}, {}});
  ASSERT_TRUE(builder.AddOutput({"y", tensor::DataType::kF32, {}}, x).ok());
  ASSERT_TRUE(builder.AddOutput({"z", tensor::DataType::kF32, {}}, x).ok());
  const absl::Status again =
      builder.AddOutput({"y", tensor::DataType::kF32, {}}, x);
  EXPECT_EQ(again.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(again.message()),
              ::testing::HasSubstr("found \"y\" a second time"));
}

TEST(FuseTest, AnActivationBehindALinearOpBecomesPartOfIt) {
  const auto fused = Fuse(Chain(
      4, {test::RandomLinear(4, 6), test::Relu(6), test::RandomLinear(6, 2)}));
  ASSERT_TRUE(fused.ok()) << fused.status();
  ASSERT_EQ(fused->nodes().size(), 2u);
  EXPECT_EQ(std::get<Linear>(fused->nodes()[0].op).problem().activation,
            Activation::kRelu);
  // Layers stay as they were listed: the second has no op of its own.
  EXPECT_EQ(fused->layers().size(), 3u);
  EXPECT_THAT(fused->NodesOf(1), IsEmpty());
  EXPECT_EQ(fused->nodes()[1].layer, 2u);
}

TEST(FuseTest, WhatSomebodyElseReadsOrIsActivatedAlreadyStays) {
  const Graph read_twice = test::Made(4, [](GraphBuilder& builder, ValueId x) {
    const ValueId sum = *builder.Add(test::RandomLinear(4, 4), x);
    const ValueId active = *builder.Add(test::Relu(4), sum);
    return builder.Add(test::HalfBlend(4), {active, sum});
  });
  EXPECT_EQ(Fuse(read_twice)->nodes().size(), 3u);
  const Graph active =
      Chain(4, {test::RandomLinear(4, 4, Activation::kTanh), test::Relu(4)});
  EXPECT_EQ(Fuse(active)->nodes().size(), 2u);
  EXPECT_EQ(Fuse(Chain(4, {test::Relu(4)}))->nodes().size(), 1u);
}

TEST(ReduceTest, FffOpsAloneGetFewerBitsAndNothingForOtherPasses) {
  Op path = test::RandomPath(4, 4, 2);
  std::get<FffPath>(path).y_columns = tensor::RandomNormal(12);
  const Graph graph = Chain(4, {path, test::RandomLinear(4, 2)});
  const auto same = Reduce(graph, Precision::kFp32);
  ASSERT_TRUE(same.ok());
  const auto& kept = std::get<FffPath>(same->nodes()[0].op);
  EXPECT_EQ(kept.weights, std::get<FffPath>(path).weights);
  EXPECT_TRUE(kept.y_columns.empty());
  const auto int8 = Reduce(graph, Precision::kInt8);
  ASSERT_TRUE(int8.ok());
  EXPECT_EQ(std::get<FffPath>(int8->nodes()[0].op).problem().precision,
            Precision::kInt8);
  EXPECT_EQ(std::get<Linear>(int8->nodes()[1].op).weights,
            std::get<Linear>(graph.nodes()[1].op).weights);
}

TEST(ReduceTest, AWeightThatDoesNotFitNamesItsLayer) {
  Op path = test::RandomPath(2, 2, 1);
  PathWeights weights = *std::get<FffPath>(path).weights;
  weights.x = tensor::FloatArray::CopyOf({1.0F, 3.4e38F});
  std::get<FffPath>(path).weights =
      std::make_shared<const PathWeights>(std::move(weights));
  const auto reduced =
      Reduce(Chain(2, {test::Relu(2), path}), Precision::kBf16);
  EXPECT_THAT(std::string(reduced.status().message()),
              HasSubstr("layers[1] (fff_path): X: row 0, column 1"));
}

TEST(DensifyTest, AMasterLeafBecomesPartOfTheTwoProducts) {
  const Graph graph = test::MasterLeaf(6, 5, 2, 0.25F);
  const auto dense = Densify(graph);
  ASSERT_TRUE(dense.ok()) << dense.status();
  ASSERT_EQ(dense->nodes().size(), 2u);
  EXPECT_EQ(std::get<Linear>(dense->nodes()[0].op).problem().output_width,
            4 * 3 + 8);
  EXPECT_THAT(NeuronsOf(graph),
              ElementsAre("4 leaves of 3 neurons and a master leaf of 8"));
}

TEST(DensifyTest, AMasterOfAnotherActivationStaysBesideTheLeaves) {
  const Graph graph = test::Made(6, [](GraphBuilder& builder, ValueId x) {
    const ValueId leaf = *builder.Add(test::RandomLeaf(6, 5, 2), x);
    const ValueId master = *builder.AddChain(
        {test::RandomLinear(6, 8, Activation::kTanh), test::RandomLinear(8, 5)},
        x);
    return builder.Add(test::HalfBlend(5), {leaf, master});
  });
  const auto dense = Densify(graph);
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_EQ(dense->nodes().size(), 5u);
  EXPECT_EQ(NameOf(dense->nodes().back().op), "blend");
}

}  // namespace
}  // namespace fff::graph

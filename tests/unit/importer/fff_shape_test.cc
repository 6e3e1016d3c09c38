#include "server/importer/fff_shape.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/conventions.h"

namespace fff::importer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TensorShapes SapRows(int64_t rows) {
  TensorShapes tensors;
  tensors.shapes["X"] = {rows, 6};
  tensors.shapes["Y"] = {rows, 4};
  return tensors;
}

absl::StatusOr<graph::PathProblem> Sap(int64_t rows,
                                       std::optional<int64_t> trees) {
  return PathProblemOf(SapRows(rows), *FindConvention("sap-fff"), trees);
}

TensorShapes Leaf(int depth) {
  const int64_t leaves = int64_t{1} << depth;
  TensorShapes tensors;
  tensors.shapes = {
      {"node_weights", {leaves - 1, 6}}, {"node_biases", {leaves - 1, 1}},
      {"w1s", {leaves, 6, 3}},           {"b1s", {leaves, 3}},
      {"w2s", {leaves, 3, 4}},           {"b2s", {leaves, 4}}};
  return tensors;
}

absl::StatusOr<graph::LeafProblem> ReadLeaf(const TensorShapes& tensors,
                                            bool output_bias = true) {
  return LeafProblemOf(tensors, *FindConvention("fastfeedforward"),
                       output_bias);
}

std::string MessageOf(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(PathProblemTest, LevelsComeFromTheRows) {
  for (int levels = 1; levels <= 12; ++levels) {
    const auto problem = Sap((int64_t{1} << levels) - 1, std::nullopt);
    ASSERT_TRUE(problem.ok()) << problem.status();
    EXPECT_EQ(problem->levels, levels);
    EXPECT_EQ(problem->trees, 1);
    EXPECT_EQ(problem->input_width, 6);
    EXPECT_EQ(problem->output_width, 4);
    EXPECT_FALSE(problem->has_bias);
  }
}

TEST(PathProblemTest, TreesDivideTheRows) {
  const auto problem = Sap(93, 3);
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(problem->trees, 3);
  EXPECT_EQ(problem->levels, 5);
  const auto shallow = Sap(93, 93);
  ASSERT_TRUE(shallow.ok()) << shallow.status();
  EXPECT_EQ(shallow->levels, 1);
}

TEST(PathProblemTest, OneTreeIsAssumedOnlyWhereTheRowsAllowIt) {
  // 63 rows are one tree of 6 levels, 9 of 3 or 21 of 2: one is the rule.
  EXPECT_EQ(Sap(63, std::nullopt)->trees, 1);
  EXPECT_EQ(Sap(63, 9)->levels, 3);
  EXPECT_THAT(MessageOf(Sap(93, std::nullopt).status()),
              AllOf(HasSubstr("\"X\": found 93 node rows, wanted 2^levels - 1 "
                              "for one tree; what fits: "),
                    HasSubstr("trees=3 (5 levels each)"),
                    HasSubstr("trees=31 (2 levels each)")));
  EXPECT_THAT(MessageOf(Sap(93, 2).status()),
              HasSubstr("wanted 2 * (2^levels - 1); what fits: trees=3"));
}

TEST(PathProblemTest, NodeCountsThatAreNoTreeAreRefused) {
  // A public code stores 2*depth - 1 rows: 23 for depth 12.
  EXPECT_THAT(MessageOf(Sap(23, std::nullopt).status()),
              HasSubstr("no number of trees fits, so this is not a tree"));
}

TEST(PathProblemTest, ReadsALinearPair) {
  TensorShapes tensors;
  tensors.prefix = "ffn.";
  tensors.shapes = {{"linear_in.weight", {15, 6}},
                    {"linear_in.bias", {15}},
                    {"linear_out.weight", {4, 15}}};
  const Convention& convention = *FindConvention("ultrafastbert");
  const auto problem = PathProblemOf(tensors, convention, std::nullopt);
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(problem->levels, 4);
  EXPECT_EQ(problem->output_width, 4);
  EXPECT_TRUE(problem->has_bias);
  EXPECT_EQ(problem->tie, graph::Tie::kLeft);
  EXPECT_EQ(problem->activation, graph::Activation::kGelu);

  tensors.shapes["linear_in.bias"] = {14};
  EXPECT_THAT(
      MessageOf(PathProblemOf(tensors, convention, {}).status()),
      HasSubstr("\"ffn.linear_in.bias\": found shape [14], wanted [15]"));
  tensors.shapes["linear_in.bias"] = {15};
  tensors.shapes["linear_out.weight"] = {15, 4};
  EXPECT_THAT(MessageOf(PathProblemOf(tensors, convention, {}).status()),
              HasSubstr("\"ffn.linear_out.weight\": found shape [15, 4], "
                        "wanted [O, 15]"));
  tensors.shapes.erase("linear_out.weight");
  EXPECT_THAT(MessageOf(PathProblemOf(tensors, convention, {}).status()),
              HasSubstr("\"ffn.linear_out.weight\" is missing"));
}

TEST(PathProblemTest, EmptyAndOversizedDimensionsAreRefused) {
  TensorShapes tensors = SapRows(31);
  tensors.shapes["X"] = {31, 0};
  const Convention& convention = *FindConvention("sap-fff");
  EXPECT_THAT(MessageOf(PathProblemOf(tensors, convention, {}).status()),
              HasSubstr("found shape [31, 0], wanted [N, I]"));
  tensors.shapes["X"] = {31, graph::kWidthMax + 1};
  EXPECT_THAT(MessageOf(PathProblemOf(tensors, convention, {}).status()),
              HasSubstr("wanted [N, I]"));
  tensors.shapes["X"] = {(int64_t{1} << 24) - 1, int64_t{1} << 24};
  tensors.shapes["Y"] = {(int64_t{1} << 24) - 1, 4};
  EXPECT_THAT(MessageOf(PathProblemOf(tensors, convention, {}).status()),
              HasSubstr("elements are above the maximum"));
}

TEST(LeafProblemTest, DepthComesFromTheLeaves) {
  for (int depth = 0; depth <= 8; ++depth) {
    const auto problem = ReadLeaf(Leaf(depth));
    ASSERT_TRUE(problem.ok()) << problem.status();
    EXPECT_EQ(problem->depth, depth);
    EXPECT_EQ(problem->input_width, 6);
    EXPECT_EQ(problem->leaf_width, 3);
    EXPECT_EQ(problem->output_width, 4);
    EXPECT_TRUE(problem->has_output_bias);
  }
}

TEST(LeafProblemTest, DepthZeroNeedsNoNodes) {
  TensorShapes tensors = Leaf(0);
  tensors.shapes.erase("node_weights");
  tensors.shapes.erase("node_biases");
  EXPECT_TRUE(ReadLeaf(tensors).ok());
  tensors = Leaf(1);
  tensors.shapes.erase("node_weights");
  EXPECT_THAT(MessageOf(ReadLeaf(tensors).status()),
              HasSubstr("\"node_weights\" is missing, wanted [1, 6]"));
}

TEST(LeafProblemTest, NodeBiasesMayBeAColumnOrAVector) {
  TensorShapes tensors = Leaf(3);
  tensors.shapes["node_biases"] = {7};
  EXPECT_TRUE(ReadLeaf(tensors).ok());
  tensors.shapes["node_biases"] = {1, 7};
  EXPECT_THAT(MessageOf(ReadLeaf(tensors).status()),
              HasSubstr("found shape [1, 7], wanted [7, 1]"));
  tensors.shapes.erase("node_biases");
  EXPECT_THAT(MessageOf(ReadLeaf(tensors).status()),
              HasSubstr("\"node_biases\" is missing"));
}

TEST(LeafProblemTest, EveryShapeIsHeldAgainstTheOthers) {
  const std::vector<std::pair<std::string, tensor::Shape>> wrong = {
      {"node_weights", {7, 5}}, {"node_weights", {8, 6}}, {"w1s", {7, 6, 3}},
      {"w1s", {8, 6}},          {"b1s", {8, 4}},          {"w2s", {8, 4, 4}},
      {"w2s", {4, 3, 4}},       {"b2s", {8, 5}},          {"b2s", {8}}};
  for (const auto& [name, shape] : wrong) {
    TensorShapes tensors = Leaf(3);
    tensors.shapes[name] = shape;
    EXPECT_THAT(
        MessageOf(ReadLeaf(tensors).status()),
        AllOf(HasSubstr("tensor \"" + name + "\""), HasSubstr("wanted")))
        << name << tensor::ToString(shape);
  }
}

TEST(LeafProblemTest, AMissingOutputBiasIsNeverGuessed) {
  TensorShapes tensors = Leaf(3);
  tensors.shapes.erase("b2s");
  EXPECT_THAT(MessageOf(ReadLeaf(tensors).status()),
              AllOf(HasSubstr("\"output_bias\": false"),
                    HasSubstr("\"b2s\" is missing, wanted [8, 4]")));
  EXPECT_TRUE(ReadLeaf(tensors, false).ok());
}

TEST(MasterLeafTest, ShapesFollowTheTree) {
  TensorShapes tensors = Leaf(3);
  tensors.shapes["magic_w1"] = {1, 6, 8};
  tensors.shapes["magic_b1"] = {1, 8};
  tensors.shapes["magic_w2"] = {1, 8, 4};
  tensors.shapes["magic_b2"] = {1, 4};
  tensors.shapes["k"] = {};
  const auto leaf = ReadLeaf(tensors);
  ASSERT_TRUE(leaf.ok());
  EXPECT_EQ(*MasterLeafWidthOf(tensors, *leaf), 8);
  tensors.shapes["magic_w2"] = {1, 8, 5};
  EXPECT_THAT(
      MessageOf(MasterLeafWidthOf(tensors, *leaf).status()),
      HasSubstr("\"magic_w2\": found shape [1, 8, 5], wanted [1, 8, 4]"));
  tensors.shapes["magic_w2"] = {1, 8, 4};
  tensors.shapes.erase("k");
  EXPECT_THAT(MessageOf(MasterLeafWidthOf(tensors, *leaf).status()),
              HasSubstr("\"k\" is missing"));
}

TEST(UnderPrefixTest, TakesExactlyTheNamesThatStartWithIt) {
  TensorShapes tensors;
  tensors.shapes = {{"a.x", {1}}, {"ab.x", {2}}, {"a.b.x", {3}}, {"b", {4}}};
  const TensorShapes under = UnderPrefix(tensors, "a.");
  EXPECT_EQ(under.prefix, "a.");
  EXPECT_EQ(under.shapes.size(), 2u);
  EXPECT_NE(under.Find("x"), nullptr);
  EXPECT_NE(under.Find("b.x"), nullptr);
  EXPECT_EQ(under.Find("b"), nullptr);
}

}  // namespace
}  // namespace fff::importer

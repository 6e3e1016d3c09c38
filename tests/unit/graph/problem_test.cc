#include "server/graph/problem.h"

#include "gtest/gtest.h"

namespace fff::graph {
namespace {

TEST(Problem, PathNamesShapeTreesTieAndBias) {
  const PathProblem one = {768, 768, 12, 1, Tie::kLeft, Activation::kGelu,
                           true};
  EXPECT_EQ(one.ToString(),
            "path 768->768, 1 tree of 12 levels, gelu, z>0 goes right, node "
            "bias");
  const PathProblem many = {96,   40, 1, 3, Tie::kRight, Activation::kIdentity,
                            false};
  EXPECT_EQ(many.ToString(),
            "path 96->40, 3 trees of 1 level, identity, z>=0 goes right");
}

TEST(Problem, LeafNamesWidthsDepthAndAMissingOutputBias) {
  LeafProblem leaf = {784, 8, 10, 4, Tie::kRight, Activation::kRelu, true};
  EXPECT_EQ(leaf.ToString(),
            "leaf 784->(8)->10, depth 4, relu, z>=0 goes right");
  leaf.has_output_bias = false;
  EXPECT_EQ(leaf.ToString(),
            "leaf 784->(8)->10, depth 4, relu, z>=0 goes right, no output "
            "bias");
}

TEST(Problem, DenseNamesWidthsAndBias) {
  const DenseProblem dense = {3, 5, Activation::kSilu, true};
  EXPECT_EQ(dense.ToString(), "dense 3->5, silu, bias");
}

TEST(Problem, ActivationNamesAreThoseOfTheConfig) {
  EXPECT_EQ(Name(Activation::kIdentity), "identity");
  EXPECT_EQ(Name(Activation::kRelu), "relu");
  EXPECT_EQ(Name(Activation::kGelu), "gelu");
  EXPECT_EQ(Name(Activation::kGeluTanh), "gelu_tanh");
  EXPECT_EQ(Name(Activation::kSilu), "silu");
  EXPECT_EQ(Name(Activation::kTanh), "tanh");
  EXPECT_EQ(Name(Activation::kSigmoid), "sigmoid");
}

TEST(Problem, CountsOfDegenerateTrees) {
  PathProblem path;
  path.levels = 1;
  EXPECT_EQ(path.nodes(), 1);
  LeafProblem leaf;
  leaf.depth = 0;
  EXPECT_EQ(leaf.nodes(), 0);
  EXPECT_EQ(leaf.leaves(), 1);
  path.levels = kLevelsMax;
  EXPECT_EQ(path.nodes(), (int64_t{1} << 24) - 1);
}

}  // namespace
}  // namespace fff::graph

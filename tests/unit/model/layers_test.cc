#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/reference/bounds.h"
#include "server/model/activation_layer.h"
#include "server/model/flatten_layer.h"
#include "server/model/layer_norm_layer.h"
#include "server/model/linear_layer.h"
#include "server/model/master_leaf_layer.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using test::RandomRows;
using ::testing::HasSubstr;

constexpr double kUnit = 1.0 / (1 << 24);  // half the float epsilon

std::vector<float> RunLayer(const Layer& layer, const std::vector<float>& x,
                            int threads = 1) {
  engine::ExecutionContext context(threads);
  const int64_t rows = static_cast<int64_t>(x.size()) / layer.input_width();
  std::vector<float> y(static_cast<size_t>(rows * layer.output_width()),
                       std::nanf(""));
  layer.Run({x.data(), rows, layer.input_width()},
            {y.data(), rows, layer.output_width()}, {}, context);
  return y;
}

tensor::FloatArray Array(const std::vector<float>& values) {
  return tensor::FloatArray::CopyOf(values);
}

TEST(ActivationLayerTest, AppliesEachActivationToEveryElement) {
  for (const engine::Activation activation :
       {engine::Activation::kIdentity, engine::Activation::kRelu,
        engine::Activation::kGelu, engine::Activation::kGeluTanh,
        engine::Activation::kSilu, engine::Activation::kTanh,
        engine::Activation::kSigmoid}) {
    const ActivationLayer layer(activation, 37);
    // More than one chunk and more than one thread's grain.
    const std::vector<float> x = RandomRows(301, 37);
    const std::vector<float> y = RunLayer(layer, x, 2);
    for (size_t i = 0; i < x.size(); ++i) {
      const engine::Bounded wanted =
          engine::BoundedActivation(activation, {x[i], 0});
      ASSERT_NEAR(y[i], wanted.value, wanted.bound)
          << engine::Name(activation) << " of " << x[i];
    }
  }
}

TEST(ActivationLayerTest, OnlyIdentityIsPassedBy) {
  EXPECT_TRUE(ActivationLayer(engine::Activation::kIdentity, 3).is_identity());
  EXPECT_FALSE(ActivationLayer(engine::Activation::kRelu, 3).is_identity());
  EXPECT_EQ(ActivationLayer(engine::Activation::kRelu, 3).cost().flops, 3);
  EXPECT_EQ(ActivationLayer(engine::Activation::kRelu, 3).Describe(),
            "relu of 3");
}

TEST(FlattenLayerTest, LeavesRowsAsTheyAre) {
  const FlattenLayer layer(12);
  const std::vector<float> x = RandomRows(5, 12);
  EXPECT_EQ(RunLayer(layer, x), x);
  EXPECT_TRUE(layer.is_identity());
  EXPECT_EQ(layer.weights_bytes(), 0);
}

TEST(LayerNormLayerTest, MatchesTheFormula) {
  const int64_t width = 33;
  const std::vector<float> weight = RandomRows(1, width, 2);
  const std::vector<float> bias = RandomRows(1, width, 3);
  const LayerNormLayer layer(Array(weight), Array(bias), 1e-5);
  const std::vector<float> x = RandomRows(70, width);
  const std::vector<float> y = RunLayer(layer, x, 2);
  for (size_t row = 0; row < 70; ++row) {
    long double mean = 0;
    long double variance = 0;
    for (size_t i = 0; i < 33; ++i) mean += x[row * 33 + i];
    mean /= 33;
    for (size_t i = 0; i < 33; ++i) {
      variance += (x[row * 33 + i] - mean) * (x[row * 33 + i] - mean);
    }
    variance /= 33;
    for (size_t i = 0; i < 33; ++i) {
      const long double wanted =
          (x[row * 33 + i] - mean) / std::sqrt(variance + 1e-5L) * weight[i] +
          bias[i];
      // Sums are in double; only the last rounding is in float.
      ASSERT_NEAR(y[row * 33 + i], static_cast<double>(wanted),
                  2 * kUnit * std::abs(static_cast<double>(wanted)) + 1e-12);
    }
  }
}

TEST(LayerNormLayerTest, ConstantRowsBecomeTheBias) {
  const LayerNormLayer layer(Array({1, 1, 1}), Array({4, 5, 6}), 1e-5);
  EXPECT_EQ(RunLayer(layer, {7, 7, 7}), (std::vector<float>{4, 5, 6}));
  const LayerNormLayer bare(Array({2, 2}), {}, 1e-5);
  EXPECT_EQ(RunLayer(bare, {1e30F, 1e30F}), (std::vector<float>{0, 0}));
  EXPECT_THAT(bare.Describe(),
              HasSubstr("over 2, epsilon 1e-05, without bias"));
}

TEST(LayerNormLayerTest, ALargeMeanDoesNotSwallowTheVariance) {
  const LayerNormLayer layer(Array({1, 1}), {}, 1e-12);
  const std::vector<float> y = RunLayer(layer, {1e6F, 1e6F + 1});
  EXPECT_NEAR(y[0], -1, 1e-6);
  EXPECT_NEAR(y[1], 1, 1e-6);
}

std::shared_ptr<const engine::DenseWeights> Dense(int64_t in, int64_t out,
                                                  engine::Activation act,
                                                  uint32_t seed) {
  engine::DenseWeights weights;
  weights.problem = {in, out, act, true};
  weights.w = Array(RandomRows(out, in, seed));
  weights.bias = Array(RandomRows(1, out, seed + 1));
  return std::make_shared<const engine::DenseWeights>(std::move(weights));
}

TEST(LinearLayerTest, StaysInsideTheRoundingBound) {
  const auto weights = Dense(19, 7, engine::Activation::kGelu, 5);
  const auto layer = LinearLayer::Make(weights, {});
  ASSERT_TRUE(layer.ok()) << layer.status();
  const std::vector<float> x = RandomRows(9, 19);
  const std::vector<float> y = RunLayer(**layer, x);
  for (size_t row = 0; row < 9; ++row) {
    const auto wanted = engine::DenseOutputs(*weights, x.data() + row * 19);
    for (size_t i = 0; i < 7; ++i) {
      EXPECT_NEAR(y[row * 7 + i], wanted[i].value, wanted[i].bound);
    }
  }
  EXPECT_EQ((*layer)->Describe(), "19 -> 7, gelu");
  EXPECT_EQ((*layer)->cost().flops, 2 * 19 * 7);
  EXPECT_EQ((*layer)->cost().weight_bytes, 4 * (19 * 7 + 7));
  EXPECT_GE((*layer)->weights_bytes(), 4 * (19 * 7 + 7));
  EXPECT_NE((*layer)->plan(), nullptr);
}

TEST(LinearLayerTest, AnUnknownKernelIsNotFound) {
  engine::PlanOptions options;
  options.kernel_name = "no_such_kernel";
  const auto layer =
      LinearLayer::Make(Dense(2, 2, engine::Activation::kRelu, 1), options);
  EXPECT_EQ(layer.status().code(), absl::StatusCode::kNotFound);
}

std::shared_ptr<const engine::LeafWeights> LeafWeights(int depth) {
  engine::LeafWeights weights;
  weights.problem.input_width = 19;
  weights.problem.leaf_width = 3;
  weights.problem.output_width = 7;
  weights.problem.depth = depth;
  const int64_t leaves = weights.problem.leaves();
  weights.node_weights = Array(RandomRows(leaves - 1, 19, 11));
  weights.node_biases = Array(RandomRows(leaves - 1, 1, 12));
  weights.w1 = Array(RandomRows(leaves * 19, 3, 13));
  weights.b1 = Array(RandomRows(leaves, 3, 14));
  weights.w2 = Array(RandomRows(leaves * 3, 7, 15));
  weights.b2 = Array(RandomRows(leaves, 7, 16));
  return std::make_shared<const engine::LeafWeights>(std::move(weights));
}

TEST(MasterLeafLayerTest, BlendsTreeAndMasterByTheirShares) {
  const auto leaf = LeafWeights(3);
  for (const float share : {0.0F, 0.25F, 1.0F}) {
    MasterLeafWeights master;
    master.hidden = Dense(19, 8, engine::Activation::kRelu, 21);
    master.output = Dense(8, 7, engine::Activation::kIdentity, 23);
    master.fff_share = share;
    const auto layer = MasterLeafLayer::Make("master-leaf", leaf, master, {});
    ASSERT_TRUE(layer.ok()) << layer.status();
    const std::vector<float> x = RandomRows(40, 19);
    const std::vector<float> y = RunLayer(**layer, x, 2);
    // The parts on their own, blended in double.
    const auto tree = FffLeafLayer::Make("x", leaf, {});
    const auto hidden = LinearLayer::Make(master.hidden, {});
    const auto output = LinearLayer::Make(master.output, {});
    const std::vector<float> a = RunLayer(**tree, x);
    const std::vector<float> b = RunLayer(**output, RunLayer(**hidden, x));
    for (size_t i = 0; i < y.size(); ++i) {
      const double wanted = double{share} * a[i] + (1.0 - share) * b[i];
      const double size = std::abs(share * a[i]) + std::abs((1 - share) * b[i]);
      // Kernels may differ by batch size and thread count only in rounding:
      // 19 + 8 terms of order ten.
      ASSERT_NEAR(y[i], wanted, 4 * kUnit * size + 64 * kUnit * 30);
    }
  }
}

TEST(MasterLeafLayerTest, RoutesLikeItsTreeAndCostsAllParts) {
  const auto leaf = LeafWeights(2);
  MasterLeafWeights master;
  master.hidden = Dense(19, 8, engine::Activation::kRelu, 21);
  master.output = Dense(8, 7, engine::Activation::kIdentity, 23);
  master.fff_share = 0.5F;
  const auto layer = MasterLeafLayer::Make("master-leaf", leaf, master, {});
  ASSERT_TRUE(layer.ok());
  EXPECT_EQ((*layer)->type(), "fff");
  EXPECT_EQ((*layer)->routing().family, RoutingShape::Family::kLeaf);
  EXPECT_EQ((*layer)->routing().trees, 1);
  EXPECT_EQ((*layer)->routing().decisions, 2);
  EXPECT_EQ((*layer)->routing().depth, 2);
  EXPECT_THAT((*layer)->Describe(),
              HasSubstr("master leaf of width 8, relu, weighs 0.500"));
  const double tree = 2 * 2 * 19 + 2 * 19 * 3 + 2 * 3 * 7;
  EXPECT_EQ((*layer)->cost().flops, tree + 2 * 19 * 8 + 2 * 8 * 7 + 3 * 7);
  std::vector<int32_t> leaves(40);
  std::vector<float> margins(80);
  std::vector<float> y(40 * 7);
  const std::vector<float> x = RandomRows(40, 19);
  engine::ExecutionContext context(1);
  (*layer)->Run({x.data(), 40, 19}, {y.data(), 40, 7},
                {leaves.data(), margins.data()}, context);
  for (size_t row = 0; row < 40; ++row) {
    const engine::Route wanted =
        engine::ExactLeafRoute(*leaf, x.data() + row * 19);
    EXPECT_EQ(leaves[row], wanted.leaf);
    for (size_t d = 0; d < 2; ++d) {
      EXPECT_NEAR(margins[row * 2 + d], wanted.z[d].value, wanted.z[d].bound);
    }
  }
}

}  // namespace
}  // namespace fff::model

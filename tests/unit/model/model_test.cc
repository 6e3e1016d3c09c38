#include "server/model/model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model/activation_layer.h"
#include "server/model/builder.h"
#include "server/model/flatten_layer.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using test::RandomRows;
using test::RunModel;
using test::SyntheticCheckpoint;

// Adds a constant, remembers how many rows each call had, and routes row r (by
// its first value) to leaf round(x).
class CountingLayer : public Layer {
 public:
  CountingLayer(int64_t in, int64_t out, std::vector<int64_t>* calls)
      : in_(in), out_(out), calls_(calls) {}
  std::string type() const override { return "counting"; }
  std::string Describe() const override { return "counting"; }
  int64_t input_width() const override { return in_; }
  int64_t output_width() const override { return out_; }
  RoutingShape routing() const override {
    return {RoutingShape::Family::kPath, 2, 3, 2};
  }
  int64_t weights_bytes() const override { return 100; }
  LayerCost cost() const override { return {10, 20}; }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& /*context*/) const override {
    EXPECT_EQ(x.width, in_);
    EXPECT_EQ(y.width, out_);
    EXPECT_EQ(x.rows, y.rows);
    calls_->push_back(x.rows);
    for (int64_t r = 0; r < x.rows; ++r) {
      const float value = x.row(r)[0];
      std::fill_n(y.row(r), out_, value + 1);
      for (int64_t t = 0; t < 2; ++t) {
        if (routes.leaves != nullptr) {
          routes.leaves[r * 2 + t] = static_cast<int32_t>(value);
        }
        for (int64_t d = 0; d < 3 && routes.margins != nullptr; ++d) {
          routes.margins[(r * 2 + t) * 3 + d] = value;
        }
      }
    }
  }

 private:
  int64_t in_;
  int64_t out_;
  std::vector<int64_t>* calls_;
};

TEST(RowsABlockTest, KeepsSmallBatchesWhole) {
  EXPECT_EQ(RowsABlock(1, 1 << 20), 1);
  EXPECT_EQ(RowsABlock(4096, 128), 4096);
  EXPECT_EQ(RowsABlock(4096, 0), 4096);
  EXPECT_EQ(RowsABlock(0, 128), 1);
}

TEST(RowsABlockTest, CutsWhatLeavesTheCacheIntoEvenBlocks) {
  // 16 MiB of 4095 floats a row are 1024 rows.
  EXPECT_EQ(RowsABlock(16384, 4095), 1024);  // 16 blocks
  EXPECT_EQ(RowsABlock(1025, 4095), 513);    // 2 blocks
  EXPECT_EQ(RowsABlock(2048, 131072), 256);  // wide: 256 rows pay for a pass
}

TEST(RowsABlockTest, NeverHoldsMoreThanItsMemory) {
  for (const int64_t width : {1 << 20, 1 << 22, 1 << 24}) {
    const int64_t rows = RowsABlock(4096, width);
    EXPECT_GE(rows, 1);
    EXPECT_LE(rows * width * 4, int64_t{1} << 30) << width;
  }
  EXPECT_EQ(RowsABlock(4096, int64_t{1} << 40), 1);
}

TEST(ModelTest, BlocksCoverEveryRowAndRouteOnce) {
  std::vector<int64_t> calls;
  std::vector<std::unique_ptr<const Layer>> layers;
  const int64_t wide = 1 << 18;  // 256 rows a block
  layers.push_back(std::make_unique<CountingLayer>(1, wide, &calls));
  layers.push_back(std::make_unique<FlattenLayer>(wide));
  layers.push_back(std::make_unique<CountingLayer>(wide, 2, &calls));
  const Model model({"x", {1}, {}}, {"y", {2}, {}}, std::move(layers));
  const int64_t rows = 300;
  std::vector<float> x(rows);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  std::vector<int32_t> leaves[3];
  std::vector<float> margins[3];
  std::vector<engine::RouteSink> sinks;
  for (size_t layer = 0; layer < 3; ++layer) {
    leaves[layer].assign(rows * 2, -7);
    margins[layer].assign(rows * 6, -7);
    sinks.push_back({leaves[layer].data(), margins[layer].data()});
  }
  const std::vector<float> y = RunModel(model, x, sinks);
  EXPECT_EQ(calls, (std::vector<int64_t>{150, 150, 150, 150}));
  for (size_t r = 0; r < rows; ++r) {
    const auto value = static_cast<float>(r);
    ASSERT_EQ(y[2 * r], value + 2);
    ASSERT_EQ(y[2 * r + 1], value + 2);
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_EQ(leaves[0][2 * r + i], static_cast<int32_t>(r));
      ASSERT_EQ(leaves[2][2 * r + i], static_cast<int32_t>(r) + 1);
    }
    for (size_t i = 0; i < 6; ++i) {
      ASSERT_EQ(margins[0][6 * r + i], value);
      ASSERT_EQ(margins[2][6 * r + i], value + 1);
    }
  }
  // The sink of a layer that does not route is left alone.
  EXPECT_EQ(leaves[1], std::vector<int32_t>(rows * 2, -7));
}

TEST(ModelTest, NoRowsComputeNothing) {
  std::vector<int64_t> calls;
  std::vector<std::unique_ptr<const Layer>> layers;
  layers.push_back(std::make_unique<CountingLayer>(3, 2, &calls));
  const Model model({"x", {3}, {}}, {"y", {2}, {}}, std::move(layers));
  engine::ExecutionContext context(1);
  model.Run({nullptr, 0, 3}, {nullptr, 0, 2}, {}, context);
  EXPECT_TRUE(calls.empty());
}

TEST(ModelTest, AChainOfIdentitiesCopies) {
  std::vector<std::unique_ptr<const Layer>> layers;
  layers.push_back(std::make_unique<FlattenLayer>(3));
  layers.push_back(
      std::make_unique<ActivationLayer>(engine::Activation::kIdentity, 3));
  const Model model({"x", {3}, {}}, {"y", {3}, {}}, std::move(layers));
  const std::vector<float> x = RandomRows(4, 3);
  EXPECT_EQ(RunModel(model, x), x);
}

TEST(ModelTest, CostAndBytesAreSummed) {
  std::vector<int64_t> calls;
  std::vector<std::unique_ptr<const Layer>> layers;
  layers.push_back(std::make_unique<CountingLayer>(1, 1, &calls));
  layers.push_back(std::make_unique<CountingLayer>(1, 1, &calls));
  const Model model({"x", {1}, {}}, {"y", {1}, {}}, std::move(layers));
  EXPECT_EQ(model.weights_bytes(), 200);
  EXPECT_EQ(model.cost().flops, 20);
  EXPECT_EQ(model.cost().weight_bytes, 40);
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
  const auto model = BuildModel(*config, made.Build(), {});
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

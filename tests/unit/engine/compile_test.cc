#include "server/engine/compile.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/reference/bounds.h"
#include "tests/unit/graph/test_graphs.h"

namespace fff::engine {
namespace {

using graph::Graph;
using graph::GraphBuilder;
using graph::ValueId;
using graph::test::Chain;
using ::testing::HasSubstr;

std::vector<float> Random(int64_t count) {
  const auto values = tensor::RandomNormal(count, 21);
  return {values.span().begin(), values.span().end()};
}

std::vector<float> Compute(const Graph& graph, const std::vector<float>& x,
                           absl::Span<const RouteSink> routes = {}) {
  const auto made = Compile(graph, {});
  EXPECT_TRUE(made.ok()) << made.status();
  const int64_t in = graph.inputs()[0].width();
  const int64_t out = graph.outputs()[0].width();
  const auto rows = static_cast<int64_t>(x.size()) / in;
  std::vector<float> y(static_cast<size_t>(rows * out), std::nanf(""));
  const tensor::TypedRows from = tensor::ConstRows{x.data(), rows, in};
  const tensor::MutableRows to = {y.data(), rows, out};
  ExecutionContext context(1);
  EXPECT_TRUE(
      (*made)->Run({KernelInputs({&from, 1}), {&to, 1}, routes}, context).ok());
  return y;
}

TEST(CompileTest, BlocksCoverEveryRowAndRouteOnce) {
  // 2^18 floats between the layers: 300 rows run in two blocks.
  constexpr int64_t kWide = 1 << 18;
  constexpr size_t kRows = 300;
  const Graph graph =
      Chain(2, {graph::test::RandomPath(2, kWide, 2), graph::test::Relu(kWide),
                graph::test::RandomPath(kWide, 3, 2, 2)});
  const std::vector<float> x = Random(2 * kRows);
  std::vector<int32_t> leaves[3];
  std::vector<float> margins[3];
  std::vector<RouteSink> sinks;
  for (size_t layer = 0; layer < 3; ++layer) {
    leaves[layer].assign(kRows * 2, -7);
    margins[layer].assign(kRows * 4, -7);
    sinks.push_back({leaves[layer].data(), margins[layer].data()});
  }
  const std::vector<float> whole = Compute(graph, x, sinks);
  for (const size_t row : {0u, 149u, 150u, 299u}) {
    const std::vector<float> alone_x = {x[2 * row], x[2 * row + 1]};
    std::vector<int32_t> leaf(3 * 2, -7);
    std::vector<float> z(3 * 4, -7);
    const std::vector<RouteSink> alone_sinks = {
        {&leaf[0], &z[0]}, {&leaf[2], &z[4]}, {&leaf[4], &z[8]}};
    const std::vector<float> alone = Compute(graph, alone_x, alone_sinks);
    // Path kernels agree bit for bit.
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(alone[i], whole[3 * row + i]);
    EXPECT_EQ(leaf[0], leaves[0][row]);
    EXPECT_EQ(leaf[4], leaves[2][2 * row]);
    EXPECT_EQ(leaf[5], leaves[2][2 * row + 1]);
    EXPECT_EQ(z[0], margins[0][2 * row]);
    EXPECT_EQ(z[11], margins[2][4 * row + 3]);
  }
  // The sink of a layer that does not route is left alone.
  EXPECT_EQ(leaves[1], std::vector<int32_t>(kRows * 2, -7));
}

TEST(CompileTest, NoRowsComputeNothing) {
  EXPECT_TRUE(Compute(Chain(3, {graph::test::RandomLinear(3, 2)}), {}).empty());
}

TEST(CompileTest, AGraphWithoutNodesCopies) {
  const std::vector<float> x = Random(12);
  EXPECT_EQ(Compute(Chain(3, {}), x), x);
}

TEST(CompileTest, AMasterLeafBlendsItsParts) {
  constexpr size_t kRows = 40;
  const std::vector<float> x = Random(19 * kRows);
  for (const float share : {0.0F, 0.25F, 1.0F}) {
    const Graph graph = graph::test::MasterLeaf(19, 7, 3, share);
    const std::vector<float> y = Compute(graph, x);
    const std::vector<float> leaf =
        Compute(Chain(19, {graph.nodes()[0].op}), x);
    const std::vector<float> master =
        Compute(Chain(19, {graph.nodes()[1].op, graph.nodes()[2].op}), x);
    for (size_t i = 0; i < y.size(); ++i) {
      const double wanted = double{share} * leaf[i] + (1.0 - share) * master[i];
      const double size = std::abs(leaf[i]) + std::abs(master[i]);
      ASSERT_NEAR(y[i], wanted, 4 * size / (1 << 24));
    }
  }
}

TEST(CompileTest, AValueReadTwiceReachesBothReaders) {
  const Graph graph =
      graph::test::Made(5, [](GraphBuilder& builder, ValueId x) {
        const ValueId h = *builder.Add(graph::test::RandomLinear(5, 5), x);
        const ValueId active = *builder.Add(graph::test::Relu(5), h);
        return builder.Add(graph::test::HalfBlend(5), {active, h});
      });
  const std::vector<float> x = Random(5 * 9);
  const std::vector<float> h =
      Compute(Chain(5, {graph::test::RandomLinear(5, 5)}), x);
  const std::vector<float> y = Compute(graph, x);
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_FLOAT_EQ(y[i], 0.5F * std::fmax(h[i], 0.0F) + 0.5F * h[i]);
  }
}

// One output comes block by block, the other lies where it shall; both also
// where the same value is two outputs, and where a reader could overwrite one.
TEST(CompileTest, ASinkTakesTheFirstOutputBesideOthers) {
  constexpr int64_t kWide = 1 << 18;
  constexpr int64_t kRows = 40;
  GraphBuilder builder;
  const ValueId x = builder.AddInput({"x", tensor::DataType::kF32, {2}, {}});
  builder.BeginLayer({"linear"});
  const ValueId wide = *builder.Add(graph::test::RandomLinear(2, kWide), x);
  const ValueId few = *builder.Add(graph::test::RandomLinear(kWide, 3), wide);
  ASSERT_TRUE(
      builder.AddOutput({"wide", tensor::DataType::kF32, {}}, wide).ok());
  ASSERT_TRUE(builder.AddOutput({"few", tensor::DataType::kF32, {}}, few).ok());
  ASSERT_TRUE(
      builder.AddOutput({"again", tensor::DataType::kF32, {}}, wide).ok());
  ASSERT_TRUE(builder.AddOutput({"input", tensor::DataType::kF32, {}}, x).ok());
  const auto made = Compile(std::move(builder).Build(), {});
  ASSERT_TRUE(made.ok()) << made.status();

  const std::vector<float> rows = Random(2 * kRows);
  const tensor::TypedRows in = tensor::ConstRows{rows.data(), kRows, 2};
  std::vector<float> whole(kRows * kWide, NAN);
  std::vector<float> y[3] = {std::vector<float>(kRows * 3, NAN),
                             std::vector<float>(kRows * kWide, NAN),
                             std::vector<float>(kRows * 2, NAN)};
  std::vector<tensor::MutableRows> outputs = {{},
                                              {y[0].data(), kRows, 3},
                                              {y[1].data(), kRows, kWide},
                                              {y[2].data(), kRows, 2}};
  Batch batch = {KernelInputs({&in, 1}), outputs, {}};
  int blocks = 0;
  const OutputSink sink = [&](int64_t first, tensor::ConstRows block) {
    ++blocks;
    std::copy_n(block.data, block.rows * kWide, &whole[first * kWide]);
  };
  batch.sink = &sink;
  ExecutionContext context(1);
  ASSERT_TRUE((*made)->Run(batch, context).ok());
  EXPECT_GT(blocks, 1);
  EXPECT_EQ(y[1], whole);
  EXPECT_EQ(y[2], rows);

  batch.sink = nullptr;
  std::vector<float> in_place(kRows * kWide, NAN);
  std::vector<float> few_again(kRows * 3, NAN);
  outputs[0] = {in_place.data(), kRows, kWide};
  outputs[1] = {few_again.data(), kRows, 3};
  ASSERT_TRUE((*made)->Run(batch, context).ok());
  for (size_t i = 0; i < whole.size(); ++i) {
    ASSERT_NEAR(in_place[i], whole[i], 1e-4);
  }
  for (size_t i = 0; i < few_again.size(); ++i) {
    ASSERT_NEAR(few_again[i], y[0][i], 0.1);  // sums of 2^18 terms
  }
}

TEST(CompileTest, TheReportNamesAKernelForEveryNode) {
  const auto made = Compile(graph::test::MasterLeaf(6, 5, 2, 0.5F), {});
  ASSERT_TRUE(made.ok());
  ASSERT_EQ((*made)->report().size(), 4u);
  for (const NodeReport& node : (*made)->report()) {
    ASSERT_FALSE(node.steps.empty());
    EXPECT_EQ(node.steps[0].rows_min, 1);
    EXPECT_FALSE(node.steps[0].reason.empty());
  }
  EXPECT_EQ((*made)->report()[3].steps[0].kernel, "blend_rows");
}

constexpr int64_t kWide = 1 << 15;

// "y" [tokens, 3] and "pooled" [rows, 5], from ids and a mask. Between two FFF
// ops there are kWide floats per token, so that a block holds some 256 tokens.
Graph OfSequences() {
  GraphBuilder builder;
  const ValueId ids = builder.AddInput(graph::test::Ids("ids"));
  const ValueId mask = builder.AddInput(graph::test::Mask("mask"));
  builder.BeginLayer({"tokens"});
  const ValueId x = *builder.AddChain(
      {graph::test::Embed(20, 8), graph::test::AddPositions(400, 8)}, ids);
  builder.BeginLayer({"widen"});
  const ValueId wide = *builder.Add(graph::test::RandomPath(8, kWide, 1), x);
  builder.BeginLayer({"narrow"});
  const ValueId qkv =
      *builder.Add(graph::test::RandomPath(kWide, 24, 2, 2), wide);
  builder.BeginLayer({"attend"});
  const ValueId z =
      *builder.Add(graph::test::Attend(0, 2, 4, true), {qkv, mask});
  builder.BeginLayer({"each"});
  const ValueId y = *builder.Add(graph::test::RandomPath(8, 3, 3, 2), z);
  builder.BeginLayer({"pool"});
  const ValueId pooled = *builder.Add(graph::test::Pool(0, 8, true), {z, mask});
  const ValueId last = *builder.Add(graph::test::RandomPath(8, 5, 2), pooled);
  EXPECT_TRUE(builder.AddOutput(graph::test::PortOf("y", 3), y).ok());
  EXPECT_TRUE(builder.AddOutput(graph::test::PortOf("pooled", 5), last).ok());
  return std::move(builder).Build();
}

struct SequencesResult {
  std::vector<float> y;        // [tokens, 3]
  std::vector<float> pooled;   // [rows, 5]
  std::vector<int32_t> each;   // [tokens, 2]
  std::vector<float> margins;  // [tokens, 2, 3]
  std::vector<int32_t> pool;   // [rows, 1]
};

// mask: empty: absent.
SequencesResult Compute(const Executable& executable,
                        const std::vector<int64_t>& starts,
                        const std::vector<int32_t>& ids,
                        const std::vector<int32_t>& mask) {
  const size_t tokens = ids.size();
  const size_t rows = starts.size() - 1;
  const auto wire = static_cast<int64_t>(tokens);
  SequencesResult result;
  result.y.assign(tokens * 3, std::nanf(""));
  result.pooled.assign(rows * 5, std::nanf(""));
  result.each.assign(tokens * 2, -7);
  result.margins.assign(tokens * 6, -7);
  result.pool.assign(rows, -7);
  const tensor::TypedRows in[] = {
      {tensor::DataType::kI32, ids.data(), wire, 1},
      {tensor::DataType::kI32, mask.empty() ? nullptr : mask.data(), wire, 1}};
  const tensor::MutableRows out[] = {
      {result.y.data(), wire, 3},
      {result.pooled.data(), static_cast<int64_t>(rows), 5}};
  std::vector<RouteSink> sinks(6);
  sinks[4] = {result.each.data(), result.margins.data()};
  sinks[5].leaves = result.pool.data();
  ExecutionContext context(2);
  EXPECT_TRUE(
      executable.Run({KernelInputs(in, Sequences(starts)), out, sinks}, context)
          .ok());
  return result;
}

template <class T>
std::vector<T> Part(const std::vector<T>& all, int64_t first, int64_t count,
                    int64_t width) {
  if (all.empty()) return all;
  const auto begin = all.begin() + first * width;
  return {begin, begin + count * width};
}

// 913 tokens: four blocks, of which two are a row beyond a block's size.
TEST(CompileTest, SequencesAreTheSameAloneAndInBlocks) {
  const auto executable = Compile(OfSequences(), {});
  ASSERT_TRUE(executable.ok()) << executable.status();
  const std::vector<int64_t> starts = {0, 100, 101, 401, 403, 553, 580, 913};
  std::vector<int32_t> ids;
  std::vector<int32_t> some;
  for (int32_t t = 0; t < 913; ++t) {
    ids.push_back(t * 7 % 20);
    some.push_back(t % 5 == 2 ? 0 : 1);
  }
  for (const auto& mask : {std::vector<int32_t>(), some}) {
    const SequencesResult all = Compute(**executable, starts, ids, mask);
    for (size_t row = 0; row + 1 < starts.size(); ++row) {
      const int64_t first = starts[row];
      const int64_t length = starts[row + 1] - first;
      const auto at = static_cast<int64_t>(row);
      const SequencesResult alone =
          Compute(**executable, {first, first + length},
                  Part(ids, first, length, 1), Part(mask, first, length, 1));
      EXPECT_EQ(alone.y, Part(all.y, first, length, 3)) << "row " << row;
      EXPECT_EQ(alone.pooled, Part(all.pooled, at, 1, 5)) << "row " << row;
      EXPECT_EQ(alone.each, Part(all.each, first, length, 2));
      EXPECT_EQ(alone.margins, Part(all.margins, first, length, 6));
      EXPECT_EQ(alone.pool, Part(all.pool, at, 1, 1));
    }
  }
}

TEST(CompileTest, NoSequencesComputeNothing) {
  const auto executable = Compile(OfSequences(), {});
  ASSERT_TRUE(executable.ok()) << executable.status();
  EXPECT_TRUE(Compute(**executable, {0}, {}, {}).y.empty());
}

// The z of an FFF op behind a product, and with them its routes, are those of a
// row alone, bit for bit.
TEST(CompileTest, WhatStandsBeforeRoutesDoesNotDependOnTheBatch) {
  constexpr size_t kRows = 200;
  const Graph graph =
      Chain(300, {graph::test::RandomLinear(300, 120), graph::test::Relu(120),
                  graph::test::RandomLinear(120, 60),
                  graph::test::RandomPath(60, 9, 5)});
  const std::vector<float> x = Random(300 * kRows);
  std::vector<float> margins(kRows * 5);
  RouteSink sinks[4];
  sinks[3].margins = margins.data();
  Compute(graph, x, sinks);
  for (const int64_t rows : {1, 2, 3, 5, 16, 64, 130}) {
    constexpr int64_t kFirst = 7;
    const std::vector<float> part = Part(x, kFirst, rows, 300);
    std::vector<float> some(static_cast<size_t>(rows) * 5);
    RouteSink part_sinks[4];
    part_sinks[3].margins = some.data();
    Compute(graph, part, part_sinks);
    EXPECT_EQ(some, Part(margins, kFirst, rows, 5)) << rows << " rows";
  }
}

// A leaf and a linear op with an FFF op behind them, and that FFF op.
TEST(CompileTest, OnlyNodesWithNoRoutingBehindThemChooseByMeasurement) {
  CompileOptions options;
  options.tuning_seconds = 1e-9;  // one row alone
  const auto made = Compile(Chain(12, {graph::test::RandomLeaf(12, 9, 2),
                                       graph::test::RandomLinear(9, 8),
                                       graph::test::RandomLeaf(8, 5, 2)}),
                            options);
  ASSERT_TRUE(made.ok());
  EXPECT_THAT((*made)->report()[0].steps[0].reason,
              HasSubstr("predicted cost"));
  ASSERT_EQ((*made)->report()[1].steps.size(), 1U);
  EXPECT_THAT((*made)->report()[1].steps[0].reason,
              HasSubstr("the same in every batch"));
  EXPECT_THAT((*made)->report()[2].steps[0].reason, HasSubstr("measured"));
}

}  // namespace
}  // namespace fff::engine

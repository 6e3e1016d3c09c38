// Graphs over sequences: their types, and what does not fit.
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/graph/graph.h"
#include "tests/unit/graph/test_graphs.h"

namespace fff::graph {
namespace {

using ::testing::HasSubstr;

Port FloatTokens(const char* name, int64_t width) {
  Port port = test::PortOf(name, width);
  port.sequence = true;
  return port;
}

// A graph's inputs, for ops that do or do not fit them.
class Inputs {
 public:
  ValueId Add(Port port) { return builder_.AddInput(std::move(port)); }
  GraphBuilder& Begin() {
    builder_.BeginLayer({"test"});
    return builder_;
  }

 private:
  GraphBuilder builder_;
};

std::string ErrorOf(const absl::StatusOr<ValueId>& added) {
  EXPECT_EQ(added.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(added.status().message());
}

TEST(SequenceGraphTest, PrintsTokensAndWhatIsMadeOfThem) {
  Inputs inputs;
  const ValueId ids = inputs.Add(test::Ids("ids"));
  const ValueId mask = inputs.Add(test::Mask("mask"));
  GraphBuilder& builder = inputs.Begin();
  const ValueId x =
      *builder.AddChain({test::Embed(20, 6), test::AddPositions(512, 6),
                         test::RandomLinear(6, 24)},
                        ids);
  const ValueId y = *builder.Add(test::Attend(0, 2, 4, true), {x, mask});
  const ValueId pooled = *builder.Add(test::Pool(0, 8, true), {y, mask});
  ASSERT_TRUE(builder.AddOutput(test::PortOf("tokens", 8), y).ok());
  ASSERT_TRUE(builder.AddOutput(test::PortOf("pooled", 8), pooled).ok());
  const Graph graph = std::move(builder).Build();
  EXPECT_EQ(graph.Print(),
            "%0 = input \"ids\": I32 [tokens, 1]\n"
            "%1 = input \"mask\": I32 [tokens]\n"
            "%2 = embedding(%0) 20 rows of 6: F32 [tokens, 6]\n"
            "%3 = positions(%2) of 512 tokens of 6: F32 [tokens, 6]\n"
            "%4 = linear(%3) 6 -> 24: F32 [tokens, 24]\n"
            "%5 = attention(%4, %1) 2 heads of 4 over all tokens, masked: "
            "F32 [tokens, 8]\n"
            "%6 = pool_tokens(%5, %1) mean of all tokens of 8, masked: "
            "F32 [rows, 8]\n"
            "output \"tokens\" = %5\n"
            "output \"pooled\" = %6\n");
  EXPECT_TRUE(graph.sequences());
  EXPECT_EQ(graph.tokens_max(), 512);
  EXPECT_EQ(graph.inputs()[0].limit, 20);
  EXPECT_EQ(graph.inputs()[1].limit, 0);
  EXPECT_TRUE(graph.outputs()[0].sequence);
  EXPECT_FALSE(graph.outputs()[1].sequence);
  EXPECT_TRUE(graph.nodes()[3].per_token);
  EXPECT_EQ(graph.nodes()[3].tokens, 1);
}

TEST(SequenceGraphTest, RowsOfOneLengthHaveTokensOfTheirOwn) {
  Inputs inputs;
  const ValueId ids = inputs.Add(test::Ids("ids", {7}));
  const ValueId mask = inputs.Add(test::Mask("mask", {7}));
  GraphBuilder& builder = inputs.Begin();
  const ValueId x =
      *builder.AddChain({test::Embed(20, 6), test::RandomLinear(6, 24)}, ids);
  const ValueId y = *builder.Add(test::Attend(7, 2, 4, true), {x, mask});
  EXPECT_EQ(builder.TypeOf(ids).ToString(), "I32 [rows, 7, 1]");
  EXPECT_EQ(builder.TypeOf(mask).ToString(), "I32 [rows, 7]");
  EXPECT_EQ(builder.TypeOf(x).ToString(), "F32 [rows, 7, 24]");
  EXPECT_EQ(builder.TypeOf(y).ToString(), "F32 [rows, 7, 8]");
  const ValueId pooled = *builder.Add(test::Pool(7, 8, true), {y, mask});
  EXPECT_EQ(builder.TypeOf(pooled).ToString(), "F32 [rows, 8]");
  const Graph graph = std::move(builder).Build();
  EXPECT_FALSE(graph.sequences());
  EXPECT_EQ(graph.tokens_max(), kTokensMax);
  EXPECT_EQ(graph.nodes()[0].tokens, 7);
}

TEST(SequenceGraphTest, OfSeveralTablesTheSmallestLimits) {
  Inputs inputs;
  const ValueId ids = inputs.Add(test::Ids("ids"));
  GraphBuilder& builder = inputs.Begin();
  for (const int64_t count : {30, 9, 12}) {
    ASSERT_TRUE(
        builder
            .AddChain(
                {test::Embed(count, 6), test::AddPositions(10 * count, 6)}, ids)
            .ok());
  }
  const Graph graph = std::move(builder).Build();
  EXPECT_EQ(graph.inputs()[0].limit, 9);
  EXPECT_EQ(graph.tokens_max(), 90);
}

TEST(SequenceGraphTest, CostsAreThoseOfANominalSequence) {
  Inputs inputs;
  const ValueId x = inputs.Add(FloatTokens("x", 6));
  GraphBuilder& builder = inputs.Begin();
  ASSERT_TRUE(builder.Add(test::RandomLinear(6, 4), x).ok());
  const Graph all = GraphBuilder(builder).Build();
  EXPECT_EQ(all.cost().flops, kNominalTokens * 2 * 6 * 4);
  ASSERT_TRUE(builder.Add(test::AddPositions(10, 6), x).ok());
  const Graph ten = std::move(builder).Build();
  EXPECT_EQ(ten.cost().flops, 10 * (2 * 6 * 4 + 6));
}

TEST(SequenceGraphTest, NumbersAndFloatsDoNotStandForEachOther) {
  Inputs inputs;
  const ValueId ids = inputs.Add(test::Ids("ids"));
  const ValueId x = inputs.Add(FloatTokens("x", 1));
  const ValueId mask = inputs.Add(test::Mask("mask"));
  GraphBuilder& builder = inputs.Begin();
  EXPECT_THAT(ErrorOf(builder.Add(test::Embed(5, 2), x)),
              HasSubstr("got elements of type F32, wanted I32"));
  EXPECT_THAT(ErrorOf(builder.Add(test::RandomLinear(1, 2), ids)),
              HasSubstr("got elements of type I32, wanted F32"));
  EXPECT_THAT(ErrorOf(builder.Add(test::Embed(5, 2), mask)),
              HasSubstr("got the mask \"mask\", wanted an input of numbers"));
  EXPECT_THAT(std::string(builder.AddOutput({}, ids).message()),
              HasSubstr("output: found I32 [tokens, 1], wanted F32"));
}

TEST(SequenceGraphTest, AMaskHasAnIntPerToken) {
  Inputs inputs;
  const ValueId x = inputs.Add(FloatTokens("x", 24));
  const ValueId fixed = inputs.Add({"fixed", tensor::DataType::kF32, {7, 24}});
  const ValueId mask = inputs.Add(test::Mask("mask"));
  const ValueId of_7 = inputs.Add(test::Mask("of_7", {7}));
  const ValueId of_6 = inputs.Add(test::Mask("of_6", {6}));
  const ValueId floats = inputs.Add(FloatTokens("floats", 1));
  GraphBuilder& builder = inputs.Begin();
  const Op any = test::Attend(0, 2, 4, true);
  const Op of_rows = test::Attend(7, 2, 4, true);
  EXPECT_TRUE(builder.Add(any, {x, mask}).ok());
  EXPECT_TRUE(builder.Add(of_rows, {fixed, of_7}).ok());
  EXPECT_THAT(ErrorOf(builder.Add(any, {x, of_7})),
              HasSubstr("got a mask I32 [rows, 7] for F32 [tokens, 24], "
                        "wanted an I32 per token"));
  EXPECT_THAT(ErrorOf(builder.Add(any, {x, floats})),
              HasSubstr("got a mask F32 [tokens, 1]"));
  EXPECT_THAT(ErrorOf(builder.Add(of_rows, {fixed, of_6})),
              HasSubstr("got a mask I32 [rows, 6]"));
  EXPECT_THAT(ErrorOf(builder.Add(of_rows, {fixed, mask})),
              HasSubstr("got a mask I32 [tokens]"));
  EXPECT_THAT(ErrorOf(builder.Add(any, x)),
              HasSubstr("attention: got 1 inputs, wanted 2"));
}

TEST(SequenceGraphTest, WhatSpansSequencesDoesNotFitRowsOfOneLength) {
  Inputs inputs;
  const ValueId rows = inputs.Add({"x", tensor::DataType::kF32, {7, 24}});
  const ValueId row = inputs.Add(test::PortOf("row", 24));
  const ValueId pairs = inputs.Add([] {
    Port port = FloatTokens("pairs", 2);
    port.shape = {2, 24};
    return port;
  }());
  const ValueId x = inputs.Add(FloatTokens("tokens", 24));
  GraphBuilder& builder = inputs.Begin();
  for (const Op& op : {test::Attend(0, 2, 4, false), test::Pool(0, 24, false),
                       test::AddPositions(9, 24)}) {
    for (const ValueId value : {row, rows}) {
      EXPECT_THAT(ErrorOf(builder.Add(op, value)),
                  HasSubstr("got rows of one length, wanted sequences of any"));
    }
    EXPECT_THAT(ErrorOf(builder.Add(op, pairs)),
                HasSubstr("got rows of width 48, wanted 24"));
  }
  EXPECT_THAT(ErrorOf(builder.Add(test::HalfBlend(24), {x, row})),
              HasSubstr("got F32 [rows, 24] beside F32 [tokens, 24]"));
}

}  // namespace
}  // namespace fff::graph

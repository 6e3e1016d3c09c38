#include "server/benchmark/input_rows.h"

#include <utility>

#include "gtest/gtest.h"
#include "tests/unit/graph/test_graphs.h"

namespace fff::benchmark {
namespace {

TEST(InputRowsTest, SmallBatchesCycleThroughManyDistinctRows) {
  const InputRows inputs(1, 16, 1);
  EXPECT_EQ(inputs.batches(), 2048);
  EXPECT_NE(inputs.batch(0).data, inputs.batch(1).data);
  EXPECT_EQ(inputs.batch(0).data, inputs.batch(2048).data);
}

TEST(InputRowsTest, WideRowsStayWithinThePoolAndLargeBatchesExceedIt) {
  EXPECT_EQ(InputRows(1, 16384, 1).rows(), 128);
  const InputRows large(4096, 16, 1);
  EXPECT_EQ(large.batches(), 1);
  EXPECT_EQ(large.rows(), 4096);
  EXPECT_EQ(large.batch(9).rows, 4096);
}

// 2,048 tokens in all: counting the leaves of 2,048 sequences of 128 tokens
// took minutes before anything was measured.
TEST(InputRowsTest, OfSequencesTheTokensCount) {
  graph::GraphBuilder builder;
  const graph::ValueId ids = builder.AddInput(graph::test::Ids("ids"));
  builder.BeginLayer({"embed"});
  const graph::ValueId x = *builder.Add(graph::test::Embed(20, 8), ids);
  ASSERT_TRUE(builder.AddOutput(graph::test::PortOf("y", 8), x).ok());
  const auto graph = std::move(builder).Build();
  const InputRows one(1, graph, 1);
  EXPECT_EQ(one.extent().tokens, 128);
  EXPECT_EQ(one.rows(), 16);
  EXPECT_EQ(InputRows(8, graph, 1).batches(), 2);
  EXPECT_EQ(InputRows(32, graph, 1).batches(), 1);
}

}  // namespace
}  // namespace fff::benchmark

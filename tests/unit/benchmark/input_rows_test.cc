#include "server/benchmark/input_rows.h"

#include "gtest/gtest.h"

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

}  // namespace
}  // namespace fff::benchmark

#include "client/cli/rows/timed_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/benchmark/input_rows.h"

namespace fff::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `rows` rows of `width` floats; each row holds its number.
PortRows Counting(int64_t rows, int64_t width) {
  std::string csv;
  for (int64_t r = 0; r < rows; ++r) {
    absl::StrAppend(&csv, r);
    for (int64_t i = 1; i < width; ++i) absl::StrAppend(&csv, ",", r);
    csv += '\n';
  }
  v1::TensorMetadata port;
  port.set_name("x");
  port.set_datatype(v1::DATA_TYPE_FP32);
  port.add_shape(width);
  auto read = ReadPort({"x", "rows.csv", ""}, port, csv, {});
  EXPECT_TRUE(read.ok()) << read.status();
  return *std::move(read);
}

std::vector<float> Values(const v1::Tensor& tensor) {
  std::vector<float> values(tensor.data().size() / sizeof(float));
  std::memcpy(values.data(), tensor.data().data(), tensor.data().size());
  return values;
}

TEST(TimedBatchesTest, AreThoseThatTheRowsAllow) {
  EXPECT_THAT(*TimedBatches({}, {Counting(300, 1)}), ElementsAre(1, 16, 256));
  EXPECT_THAT(*TimedBatches({}, {Counting(20, 1)}), ElementsAre(1, 16));
  EXPECT_THAT(*TimedBatches({2, 3}, {Counting(3, 1)}), ElementsAre(2, 3));
}

TEST(TimedBatchesTest, RefusesThoseThatItDoesNot) {
  const absl::Status few = TimedBatches({64}, {Counting(3, 2)}).status();
  EXPECT_EQ(few.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(few.message(),
              HasSubstr("rows.csv: got 3 rows, wanted at least the 64"));
  PortRows wide = Counting(2, 1);
  wide.widths = {kTimedBytesMax / 8, kTimedBytesMax / 8};
  const absl::Status large = TimedBatches({}, {wide}).status();
  EXPECT_TRUE(large.ok()) << large;
  EXPECT_THAT(*TimedBatches({}, {wide}), ElementsAre(1));
  wide.widths = {kTimedBytesMax, kTimedBytesMax};
  EXPECT_THAT(TimedBatches({}, {wide}).status().message(),
              HasSubstr("wanted at most 50331648"));
}

TEST(AddTimedRowsTest, AllRowsGoWhereTheyFit) {
  v1::BenchmarkRequest request;
  request.add_batch_rows(2);
  ASSERT_TRUE(AddTimedRows({Counting(5, 2)}, &request).ok());
  ASSERT_EQ(request.inputs_size(), 1);
  EXPECT_EQ(request.inputs(0).name(), "x");
  EXPECT_THAT(request.inputs(0).tensor().shape(), ElementsAre(5, 2));
  EXPECT_THAT(Values(request.inputs(0).tensor()),
              ElementsAre(0, 0, 1, 1, 2, 2, 3, 3, 4, 4));
}

TEST(AddTimedRowsTest, OthersAreSpreadOverTheFile) {
  v1::BenchmarkRequest request;
  request.add_batch_rows(1);
  const int64_t all = 2 * benchmark::kPoolRows;
  ASSERT_TRUE(AddTimedRows({Counting(all, 1)}, &request).ok());
  const std::vector<float> rows = Values(request.inputs(0).tensor());
  ASSERT_EQ(static_cast<int64_t>(rows.size()), benchmark::kPoolRows);
  EXPECT_EQ(rows[1], 2);
  EXPECT_EQ(rows.back(), static_cast<float>(all - 2));
  // A batch may be larger than what is sent otherwise.
  v1::BenchmarkRequest large;
  large.add_batch_rows(all - 1);
  ASSERT_TRUE(AddTimedRows({Counting(all, 1)}, &large).ok());
  EXPECT_EQ(large.inputs(0).tensor().shape(0), all - 1);
}

TEST(AddTimedRowsTest, RowsOfDifferentLengthsAreRefused) {
  v1::TensorMetadata port;
  port.set_name("ids");
  port.set_datatype(v1::DATA_TYPE_INT64);
  port.add_shape(-1);
  const auto rows = ReadPort({"ids", "ids.csv", ""}, port, "1,2\n3\n", {});
  ASSERT_TRUE(rows.ok()) << rows.status();
  v1::BenchmarkRequest request;
  request.add_batch_rows(1);
  EXPECT_THAT(AddTimedRows({*rows}, &request).message(),
              HasSubstr("ids.csv: row 1 differs in length from row 0"));
}

}  // namespace
}  // namespace fff::cli

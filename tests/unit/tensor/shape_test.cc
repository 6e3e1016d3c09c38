#include "server/tensor/shape.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::tensor {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

void ExpectRefused(const Shape& shape, const std::string& message) {
  const absl::Status status = NumElements(shape).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), message);
}

TEST(NumElementsTest, MultipliesDimensions) {
  EXPECT_EQ(NumElements({}).value(), 1);
  EXPECT_EQ(NumElements({5}).value(), 5);
  EXPECT_EQ(NumElements({2, 3, 4}).value(), 24);
  EXPECT_EQ(NumElements({1, 1, 1, 1, 1, 1, 1, 1}).value(), 1);
  EXPECT_EQ(NumElements({1 << 20, 1 << 20}).value(), kElementsMax);
}

TEST(NumElementsTest, IsZeroWithAnEmptyDimensionAnywhere) {
  EXPECT_EQ(NumElements({0}).value(), 0);
  EXPECT_EQ(NumElements({kMax, kMax, 0}).value(), 0);
}

TEST(NumElementsTest, RefusesNegativeDimensions) {
  ExpectRefused({2, -1}, "shape [2, -1] has a negative dimension");
  ExpectRefused({0, -1}, "shape [0, -1] has a negative dimension");
  ExpectRefused({-1, -1}, "shape [-1, -1] has a negative dimension");
}

TEST(NumElementsTest, RefusesProductsAboveTheMaximum) {
  ExpectRefused({1 << 20, (1 << 20) + 1},
                "shape [1048576, 1048577] has more than 1099511627776 "
                "elements");
  ExpectRefused({kMax},
                "shape [9223372036854775807] has more than "
                "1099511627776 elements");
  // 2^66, whose low 64 bits are a valid count.
  ExpectRefused({int64_t{1} << 33, int64_t{1} << 33},
                "shape [8589934592, 8589934592] has more than 1099511627776 "
                "elements");
}

TEST(NumElementsTest, RefusesRanksAboveTheMaximum) {
  ExpectRefused(Shape(9, 1), "rank 9 is above the maximum of 8");
}

TEST(ShapeToStringTest, WritesBrackets) {
  EXPECT_EQ(ToString({}), "[]");
  EXPECT_EQ(ToString({2, 3}), "[2, 3]");
}

}  // namespace
}  // namespace fff::tensor

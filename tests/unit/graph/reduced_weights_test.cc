#include "server/graph/reduced_weights.h"

#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::graph {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> Wide(const std::vector<float>& values, int64_t width,
                        Precision precision) {
  const auto matrix = ReducedMatrix::Of(values, width, precision);
  EXPECT_TRUE(matrix.ok()) << matrix.status();
  const tensor::FloatArray wide = matrix->Widened();
  return {wide.span().begin(), wide.span().end()};
}

std::vector<float> Normal(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(ToFloat(ToBf16(1.0F)), 1.0F);
  EXPECT_EQ(ToFloat(ToBf16(1 + 0x1p-8F)), 1.0F);  // a tie, down to even
  EXPECT_EQ(ToFloat(ToBf16(1 + 3 * 0x1p-8F)), 1 + 0x1p-6F);  // a tie, up
  EXPECT_EQ(ToFloat(ToBf16(1 + 0x1.02p-8F)), 1 + 0x1p-7F);
  EXPECT_EQ(ToFloat(ToBf16(-1 - 0x1.02p-8F)), -1 - 0x1p-7F);
  EXPECT_EQ(ToFloat(ToBf16(0x1p-133F)), 0x1p-133F);  // subnormal
  EXPECT_TRUE(std::signbit(ToFloat(ToBf16(-0.0F))));
}

TEST(Bf16, BeyondTheRangeIsInfinityAndNanStaysNan) {
  EXPECT_EQ(ToFloat(ToBf16(std::numeric_limits<float>::max())), kInfinity);
  EXPECT_EQ(ToFloat(ToBf16(-kInfinity)), -kInfinity);
  EXPECT_TRUE(std::isnan(ToFloat(ToBf16(std::nanf("")))));
  EXPECT_TRUE(std::isnan(ToFloat(ToBf16(-std::nanf("0x1")))));
}

TEST(ReducedMatrix, Bf16IsOffByHalfAUnitAtMost) {
  const std::vector<float> values = Normal(4000, 1);
  const std::vector<float> wide = Wide(values, 40, Precision::kBf16);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_LE(std::abs(wide[i] - values[i]), std::abs(values[i]) * 0x1p-8F);
  }
}

TEST(ReducedMatrix, Int8IsOffByHalfAStepOfItsRowAtMost) {
  const std::vector<float> values = Normal(4000, 2);
  const auto matrix = ReducedMatrix::Of(values, 40, Precision::kInt8);
  ASSERT_TRUE(matrix.ok());
  const tensor::FloatArray wide = matrix->Widened();
  for (int64_t i = 0; i < wide.size(); ++i) {
    const float scale = matrix->scale()[i / 40];
    const auto at = i / 40 * matrix->stride() + i % 40;
    const int8_t whole = matrix->data<int8_t>()[at];
    EXPECT_LE(std::abs(whole), 127);
    // Exact: the scale has 16 bits, the whole number 7.
    EXPECT_EQ(double{wide[i]}, double{scale} * whole);
    EXPECT_LE(std::abs(double{wide[i]} - values[static_cast<size_t>(i)]),
              double{scale} * 0.5);
  }
}

TEST(ReducedMatrix, Int8ScalesEveryRowByItsLargestWeight) {
  const auto matrix = ReducedMatrix::Of(
      {127.0F, -64.0F, 0.4F, 0.0F, 0.0F, 0.0F, -1.0F, 0.5F, 0.25F}, 3,
      Precision::kInt8);
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ(matrix->scale()[0], 1.0F);
  EXPECT_EQ(matrix->scale()[1], 0.0F);
  EXPECT_NEAR(matrix->scale()[2], 1 / 127.0F, 1e-6F);
  const tensor::FloatArray wide = matrix->Widened();
  EXPECT_THAT(wide.span().subspan(0, 6),
              ElementsAre(127.0F, -64.0F, 0.0F, 0.0F, 0.0F, 0.0F));
}

TEST(ReducedMatrix, Int8TiesGoToEven) {
  const std::vector<float> wide =
      Wide({127.0F, 0.5F, 1.5F, 2.5F, -2.5F, -3.5F}, 6, Precision::kInt8);
  EXPECT_THAT(wide, ElementsAre(127.0F, 0.0F, 2.0F, 2.0F, -2.0F, -4.0F));
}

TEST(ReducedMatrix, SubnormalRowsKeepTheirLargestWeight) {
  const std::vector<float> wide =
      Wide({200 * 0x1p-149F, -3 * 0x1p-149F}, 2, Precision::kInt8);
  EXPECT_EQ(wide[0], 200 * 0x1p-149F);
  EXPECT_LE(std::abs(wide[1] + 3 * 0x1p-149F), 0x1p-149F);
}

TEST(ReducedMatrix, RowsAreReadableToTheEndOfAVectorWithZerosBetween) {
  const auto matrix = ReducedMatrix::Of({1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F}, 3,
                                        Precision::kBf16);
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ(matrix->rows(), 2);
  EXPECT_EQ(matrix->stride(), 16);
  for (int64_t i = 3; i < 16; ++i) {
    EXPECT_EQ(matrix->data<Bf16>()[i].bits, 0);
    EXPECT_EQ(matrix->data<Bf16>()[16 + i].bits, 0);
  }
  EXPECT_GE(matrix->bytes(), 2 * (16 + 64));
}

TEST(ReducedMatrix, WeightsWithoutAFiniteValueAreRefused) {
  const auto nan =
      ReducedMatrix::Of({1.0F, 2.0F, 3.0F, std::nanf("")}, 2, Precision::kInt8);
  EXPECT_EQ(nan.status().message(),
            "row 1, column 1: found nan, which has no finite value in int8");
  const auto large = ReducedMatrix::Of({std::numeric_limits<float>::max()}, 1,
                                       Precision::kBf16);
  EXPECT_EQ(large.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(large.status().message()),
              HasSubstr("row 0, column 0: found 3.4028"));
}

std::shared_ptr<LeafWeights> Leaf() {
  auto weights = std::make_shared<LeafWeights>();
  weights->problem.input_width = 5;
  weights->problem.leaf_width = 3;
  weights->problem.output_width = 4;
  weights->problem.depth = 1;
  weights->node_weights = tensor::FloatArray::CopyOf(Normal(5, 3));
  weights->node_biases = tensor::FloatArray::CopyOf(Normal(1, 4));
  weights->w1 = tensor::FloatArray::CopyOf(Normal(30, 5));
  weights->b1 = tensor::FloatArray::CopyOf(Normal(6, 6));
  weights->w2 = tensor::FloatArray::CopyOf(Normal(24, 7));
  weights->b2 = tensor::FloatArray::CopyOf(Normal(8, 8));
  return weights;
}

TEST(ReducedWeights, ALeafIsStoredByNeuronAndWidensToTheOrderOfCheckpoints) {
  const auto weights = Leaf();
  const auto reduced =
      Reduced(std::shared_ptr<const LeafWeights>(weights), Precision::kInt8);
  ASSERT_TRUE(reduced.ok()) << reduced.status();
  EXPECT_EQ((*reduced)->problem.precision, Precision::kInt8);
  EXPECT_TRUE((*reduced)->w1.empty());
  EXPECT_EQ((*reduced)->reduced_w1.rows(), 6);  // a scale for each neuron
  const auto wide = WithWidened(**reduced);
  ASSERT_EQ(wide->w1.size(), weights->w1.size());
  for (int64_t i = 0; i < wide->w1.size(); ++i) {
    EXPECT_NEAR(wide->w1[i], weights->w1[i], 0.02);
  }
  EXPECT_EQ(wide->b2.data(), weights->b2.data());  // biases stay as they are
}

TEST(ReducedWeights, Fp32IsLeftAlone) {
  const std::shared_ptr<const LeafWeights> weights = Leaf();
  EXPECT_EQ(*Reduced(weights, Precision::kFp32), weights);
}

TEST(ReducedWeights, AnErrorNamesTheMatrix) {
  auto weights = std::make_shared<PathWeights>();
  weights->problem = {1, 1, 1, 1};
  weights->x = tensor::FloatArray::CopyOf({1.0F});
  weights->y = tensor::FloatArray::CopyOf({kInfinity});
  const auto reduced =
      Reduced(std::shared_ptr<const PathWeights>(weights), Precision::kBf16);
  EXPECT_EQ(reduced.status().message(),
            "Y: row 0, column 0: found inf, which has no finite value in bf16");
}

}  // namespace
}  // namespace fff::graph

#include "server/tensor/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fff::tensor {
namespace {

TEST(RandomTest, SameSeedGivesTheSameValuesAndAnotherSeedOthers) {
  std::vector<float> a(101);
  std::vector<float> b(101);
  std::vector<float> c(101);
  Random one(7);
  Random same(7);
  Random other(8);
  FillNormal(one, absl::MakeSpan(a));
  FillNormal(same, absl::MakeSpan(b));
  FillNormal(other, absl::MakeSpan(c));
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

// Five standard errors of the mean and the variance of n values.
TEST(RandomTest, NormalValuesHaveMeanZeroAndVarianceOne) {
  constexpr int kCount = 100000;
  std::vector<float> values(kCount);
  Random random(1);
  FillNormal(random, absl::MakeSpan(values));
  double sum = 0;
  double squares = 0;
  for (const float value : values) {
    ASSERT_TRUE(std::isfinite(value));
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2.0 / kCount));
}

TEST(RandomTest, UniformValuesStayInsideTheLimitAndFillIt) {
  std::vector<float> values(10001);
  Random random(3);
  FillUniform(random, 2.0F, absl::MakeSpan(values));
  float low = 0;
  float high = 0;
  for (const float value : values) {
    ASSERT_GE(value, -2.0F);
    ASSERT_LT(value, 2.0F);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  EXPECT_LT(low, -1.9F);
  EXPECT_GT(high, 1.9F);
}

}  // namespace
}  // namespace fff::tensor

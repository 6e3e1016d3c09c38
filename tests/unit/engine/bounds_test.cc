#include "server/engine/reference/bounds.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace fff::engine {
namespace {

TEST(Bounds, AFloatSumOfAnyOrderStaysInsideTheBound) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const size_t n : {1u, 2u, 7u, 100u, 3000u}) {
    std::vector<float> w(n), x(n);
    for (size_t i = 0; i < n; ++i) {
      w[i] = normal(random);
      x[i] = normal(random);
    }
    const Bounded z =
        BoundedDot(w.data(), 1, x.data(), static_cast<int64_t>(n), 0.25);
    float forward = 0.25f;
    float backward = 0.25f;
    for (size_t i = 0; i < n; ++i) {
      forward += w[i] * x[i];
      backward = std::fma(w[n - 1 - i], x[n - 1 - i], backward);
    }
    EXPECT_LE(std::abs(forward - z.value), z.bound) << n;
    EXPECT_LE(std::abs(backward - z.value), z.bound) << n;
    EXPECT_LT(z.bound, 1e-3 * static_cast<double>(n)) << "useless bound";
  }
}

TEST(Bounds, OneWrongTermFallsOutside) {
  std::vector<float> ones(768, 1.0f);
  const Bounded z = BoundedDot(ones.data(), 1, ones.data(), 768, 0);
  EXPECT_GT(std::abs(767.0 - z.value), z.bound);
}

TEST(Bounds, StrideWalksAColumn) {
  const float w[] = {1, 10, 2, 20, 3, 30};
  const float x[] = {1, 1, 1};
  EXPECT_EQ(BoundedDot(w, 2, x, 3, 0).value, 6);
  EXPECT_EQ(BoundedDot(w + 1, 2, x, 3, 0).value, 60);
}

TEST(Bounds, AnOverflowingSumHasNoBound) {
  const float big[] = {3e38f, 3e38f};
  const float signs[] = {1, -1};
  EXPECT_TRUE(std::isinf(BoundedDot(big, 1, signs, 2, 0).bound));
}

TEST(Bounds, TiesFollowTheConvention) {
  EXPECT_TRUE(GoesRight(Tie::kRight, 0.0));
  EXPECT_TRUE(GoesRight(Tie::kRight, -0.0));
  EXPECT_FALSE(GoesRight(Tie::kLeft, 0.0));
  EXPECT_FALSE(GoesRight(Tie::kLeft, -0.0));
  EXPECT_FALSE(GoesRight(Tie::kRight, std::nan("")));
  EXPECT_FALSE(GoesRight(Tie::kLeft, std::nan("")));
  EXPECT_TRUE(GoesRight(Tie::kLeft, 1e-45));
  EXPECT_FALSE(GoesRight(Tie::kRight, -1e-45));
}

// A two-level tree that routes on the sign of its one input.
PathWeights Tiny() {
  static const float kX[] = {1, 2, 3};
  static const float kY[] = {1, 10, 100};
  PathWeights weights;
  weights.problem = {1, 1, 2, 1, Tie::kRight, Activation::kIdentity, false};
  weights.x = tensor::FloatArray::CopyOf(kX);
  weights.y = tensor::FloatArray::CopyOf(kY);
  return weights;
}

TEST(Bounds, ExactRouteWalksTheHeap) {
  const PathWeights weights = Tiny();
  const float right = 1, left = -1;
  EXPECT_EQ(ExactPathRoute(weights, &right, 0).leaf, 1);
  EXPECT_EQ(ExactPathRoute(weights, &left, 0).leaf, 0);
  EXPECT_EQ(ExactPathRoute(weights, &right, 0).z[1].value, 3);
  EXPECT_EQ(ExactPathRoute(weights, &left, 0).z[1].value, -2);
}

TEST(Bounds, OutputsFollowTheRouteTheyAreGiven) {
  const PathWeights weights = Tiny();
  const float x = 1;
  const int32_t right = 1, left = 0;
  EXPECT_EQ(PathOutputs(weights, &x, {&right, 1})[0].value, 1 + 300);
  EXPECT_EQ(PathOutputs(weights, &x, {&left, 1})[0].value, 1 + 20);
}

}  // namespace
}  // namespace fff::engine

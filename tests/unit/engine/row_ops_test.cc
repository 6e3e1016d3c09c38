// The row-wise kernels against double precision, on every instruction set.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "server/engine/kernel_list.h"
#include "server/engine/reference/bounds.h"
#include "server/tensor/random.h"

namespace fff::engine {
namespace {

using tensor::FloatArray;

std::vector<float> Random(int64_t count, uint64_t seed) {
  const FloatArray values = tensor::RandomNormal(count, seed);
  return {values.span().begin(), values.span().end()};
}

FloatArray Array(const std::vector<float>& values) {
  return FloatArray::CopyOf(values);
}

std::vector<float> Compute(const Kernel& kernel,
                           const std::vector<std::vector<float>>& inputs,
                           int64_t width, int threads = 1) {
  ExecutionContext context(threads);
  const int64_t rows = static_cast<int64_t>(inputs[0].size()) / width;
  std::vector<tensor::TypedRows> in;
  for (const std::vector<float>& x : inputs) {
    in.push_back(tensor::ConstRows{x.data(), rows, width});
  }
  std::vector<float> y(inputs[0].size(), std::nanf(""));
  kernel.RunOn(KernelInputs(in), {y.data(), rows, width}, {}, context);
  return y;
}

std::unique_ptr<Kernel> Norm(FloatArray weight, FloatArray bias, double epsilon,
                             bool centred = true) {
  auto weights = std::make_shared<graph::LayerNormWeights>();
  weights->problem = {weight.size(), weight.size(), epsilon, !bias.empty(),
                      centred};
  weights->weight = std::move(weight);
  weights->bias = std::move(bias);
  return KernelsOf<graph::LayerNorm>()[0].make(std::move(weights));
}

std::unique_ptr<Kernel> Blend(int64_t width, float share) {
  auto weights = std::make_shared<graph::BlendWeights>();
  weights->problem = {width, width, share};
  return KernelsOf<graph::Blend>()[0].make(std::move(weights));
}

// Every test once per instruction set that this machine has.
class RowOps : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_P(RowOps, ActivatesEveryElementOfEveryWidth) {
  for (const Activation activation : graph::kActivations) {
    for (const int64_t width : {1, 3, 37, 64, 1000}) {
      auto weights = std::make_shared<graph::ActivationWeights>();
      weights->problem = {width, width, activation};
      const auto kernel =
          KernelsOf<graph::Activate>()[0].make(std::move(weights));
      // More than one chunk and more than one thread's grain.
      const std::vector<float> x = Random(301 * width, 1);
      const std::vector<float> y = Compute(*kernel, {x}, width, 2);
      for (size_t i = 0; i < x.size(); ++i) {
        const Bounded wanted = BoundedActivation(activation, {x[i], 0});
        ASSERT_NEAR(y[i], wanted.value, wanted.bound)
            << Name(activation) << " of " << x[i];
      }
    }
  }
}

TEST_P(RowOps, NormalisesEveryWidthWithinTheBound) {
  for (const int64_t width : {1, 2, 15, 33, 64, 65, 768, 1001}) {
    for (const int kind : {0, 1, 2}) {  // with a bias, without, not centred
      graph::LayerNormWeights weights;
      weights.problem = {width, width, 1e-5, kind == 0, kind != 2};
      weights.weight = tensor::RandomNormal(width, 2);
      if (kind == 0) weights.bias = tensor::RandomNormal(width, 3);
      const auto kernel = Norm(weights.weight, weights.bias, 1e-5, kind != 2);
      const std::vector<float> x = Random(70 * width, 4);
      const std::vector<float> y = Compute(*kernel, {x}, width, 2);
      for (int64_t row = 0; row < 70; ++row) {
        const auto wanted = LayerNormOutputs(weights, x.data() + row * width);
        for (int64_t i = 0; i < width; ++i) {
          const Bounded& output = wanted[static_cast<size_t>(i)];
          ASSERT_NEAR(y[static_cast<size_t>(row * width + i)], output.value,
                      output.bound)
              << "width " << width << " row " << row << " column " << i;
        }
      }
    }
  }
}

TEST_P(RowOps, ConstantRowsBecomeTheBias) {
  const auto norm = Norm(Array({1, 1, 1}), Array({4, 5, 6}), 1e-5);
  EXPECT_EQ(Compute(*norm, {{7, 7, 7}}, 3), (std::vector<float>{4, 5, 6}));
  const auto bare = Norm(Array({2, 2}), {}, 1e-5);
  EXPECT_EQ(Compute(*bare, {{1e30F, 1e30F}}, 2), (std::vector<float>{0, 0}));
}

TEST_P(RowOps, ALargeMeanDoesNotSwallowTheVariance) {
  const auto norm = Norm(Array({1, 1}), {}, 1e-12);
  const std::vector<float> y = Compute(*norm, {{1e6F, 1e6F + 1}}, 2);
  EXPECT_NEAR(y[0], -1, 1e-6);
  EXPECT_NEAR(y[1], 1, 1e-6);
}

TEST_P(RowOps, ANormThatIsNotCentredDividesByTheRootMeanSquare) {
  const auto norm = Norm(Array({1, 2}), {}, 1e-12, /*centred=*/false);
  const std::vector<float> y = Compute(*norm, {{3, 4}}, 2);
  EXPECT_FLOAT_EQ(y[0], 3 / std::sqrt(12.5F));
  EXPECT_FLOAT_EQ(y[1], 8 / std::sqrt(12.5F));
}

TEST_P(RowOps, GatesOneHalfByTheActivationOfTheOther) {
  for (const Activation activation : graph::kActivations) {
    for (const int64_t width : {1, 3, 37, 64, 3000}) {
      for (const bool first : {false, true}) {
        graph::GateWeights weights = {{2 * width, width, activation, first}};
        const auto kernel = KernelsOf<graph::Gate>()[0].make(
            std::make_shared<graph::GateWeights>(weights));
        constexpr int64_t kRows = 23;
        const std::vector<float> x = Random(kRows * 2 * width, 9);
        std::vector<float> y(static_cast<size_t>(kRows * width), NAN);
        ExecutionContext context(2);
        kernel->Run({x.data(), kRows, 2 * width}, {y.data(), kRows, width}, {},
                    context);
        for (int64_t row = 0; row < kRows; ++row) {
          const auto wanted =
              GateOutputs(weights.problem, x.data() + row * 2 * width);
          for (int64_t i = 0; i < width; ++i) {
            const Bounded& output = wanted[static_cast<size_t>(i)];
            ASSERT_NEAR(y[static_cast<size_t>(row * width + i)], output.value,
                        output.bound)
                << Name(activation) << " width " << width;
          }
        }
      }
    }
  }
}

TEST_P(RowOps, SoftmaxOfEveryWidthIsWithinTheBoundAlsoInPlace) {
  for (const int64_t width : {1, 2, 7, 16, 33, 1000, 32768}) {
    const graph::SoftmaxProblem problem = {width, width};
    const auto kernel = KernelsOf<graph::Softmax>()[0].make(
        std::make_shared<graph::SoftmaxWeights>(
            graph::SoftmaxWeights{problem}));
    constexpr int64_t kRows = 9;
    std::vector<float> x = Random(kRows * width, 11);
    // A row that underflows but for one element; one of equal elements.
    for (int64_t i = 0; i < width; ++i) x[static_cast<size_t>(i)] *= 80;
    std::fill_n(x.begin() + width, width, -3.0F);
    const std::vector<float> y = Compute(*kernel, {x}, width, 2);
    for (int64_t row = 0; row < kRows; ++row) {
      const auto wanted = SoftmaxOutputs(problem, x.data() + row * width);
      for (int64_t i = 0; i < width; ++i) {
        const Bounded& output = wanted[static_cast<size_t>(i)];
        ASSERT_NEAR(y[static_cast<size_t>(row * width + i)], output.value,
                    output.bound)
            << "width " << width << " row " << row << " column " << i;
      }
    }
    ExecutionContext context(1);
    kernel->Run({x.data(), kRows, width}, {x.data(), kRows, width}, {},
                context);
    EXPECT_EQ(x, y);
  }
}

TEST_P(RowOps, SoftmaxOfWhatIsNotFiniteIsThatOfTorch) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr int64_t kWidth = 19;
  const auto kernel = KernelsOf<graph::Softmax>()[0].make(
      std::make_shared<graph::SoftmaxWeights>(
          graph::SoftmaxWeights{{kWidth, kWidth}}));
  for (const float bad : {NAN, kInf}) {
    for (const size_t at : {size_t{0}, size_t{18}}) {
      std::vector<float> x(kWidth, 1);
      x[at] = bad;
      for (const float y : Compute(*kernel, {x}, kWidth)) {
        EXPECT_TRUE(std::isnan(y));
      }
    }
  }
  std::vector<float> x(kWidth, 1);
  x[0] = x[18] = -kInf;
  const std::vector<float> y = Compute(*kernel, {x}, kWidth);
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[18], 0);
  EXPECT_FLOAT_EQ(y[5], 1.0F / 17);
  for (const float none :
       Compute(*kernel, {std::vector<float>(kWidth, -kInf)}, kWidth)) {
    EXPECT_TRUE(std::isnan(none));
  }
}

TEST_P(RowOps, BlendsByTheSharesAlsoInPlace) {
  constexpr double kUnit = 1.0 / (1 << 24);  // half the float epsilon
  for (const int64_t width : {1, 7, 64, 4097}) {
    for (const float share : {0.0F, 0.25F, 1.0F}) {
      const auto kernel = Blend(width, share);
      const std::vector<float> a = Random(9 * width, 5);
      const std::vector<float> b = Random(9 * width, 6);
      const std::vector<float> y = Compute(*kernel, {a, b}, width, 2);
      for (size_t i = 0; i < y.size(); ++i) {
        const double wanted = double{share} * a[i] + (1.0 - share) * b[i];
        const double size = std::abs(a[i]) + std::abs(b[i]);
        ASSERT_NEAR(y[i], wanted, 3 * kUnit * size);
      }
      std::vector<float> in_place = a;
      ExecutionContext context(1);
      const tensor::TypedRows in[] = {
          tensor::ConstRows{in_place.data(), 9, width},
          tensor::ConstRows{b.data(), 9, width}};
      kernel->RunOn(KernelInputs(in), {in_place.data(), 9, width}, {}, context);
      EXPECT_EQ(in_place, y);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, RowOps,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& target) {
                           return std::string(hwy::TargetName(target.param));
                         });

}  // namespace
}  // namespace fff::engine

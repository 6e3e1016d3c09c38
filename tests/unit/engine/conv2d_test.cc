// Convolution against double precision, with computed bounds.
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel_list.h"
#include "server/engine/kernel_plan.h"
#include "tests/unit/engine/picture_rows.h"

namespace fff::engine {
namespace {

// y[o, i, j] of one row and how far fp32 may be from it.
Bounded ConvolvedAt(const graph::Conv2dWeights& weights, const float* x,
                    int64_t o, int64_t i, int64_t j) {
  const graph::Conv2dProblem& p = weights.problem;
  const int64_t channels = p.from.channels / p.groups;
  const int64_t first = o / (p.to.channels / p.groups) * channels;
  const float* w =
      weights.w.data() + o * channels * p.kernel.height * p.kernel.width;
  std::vector<float> factors;
  std::vector<float> window;
  for (int64_t c = first; c < first + channels; ++c) {
    for (int64_t u = 0; u < p.kernel.height; ++u) {
      for (int64_t v = 0; v < p.kernel.width; ++v, ++w) {
        const int64_t row =
            i * p.stride.height - p.padding.height + u * p.dilation.height;
        const int64_t column =
            j * p.stride.width - p.padding.width + v * p.dilation.width;
        if (!IsOn(p.from, row, column)) continue;
        factors.push_back(*w);
        window.push_back(x[(c * p.from.height + row) * p.from.width + column]);
      }
    }
  }
  return BoundedActivation(p.activation,
                           BoundedDot(factors.data(), 1, window.data(),
                                      static_cast<int64_t>(window.size()),
                                      p.has_bias ? weights.bias[o] : 0.0));
}

struct ConvCase {
  graph::Picture from;
  int64_t channels = 1;  // of the output
  graph::Pair kernel;
  graph::Pair stride = {1, 1};
  graph::Pair padding = {0, 0};
  graph::Pair dilation = {1, 1};
  int64_t groups = 1;
};

std::shared_ptr<const graph::Conv2dWeights> Conv(
    const ConvCase& c, Activation activation = Activation::kIdentity,
    bool has_bias = true) {
  auto weights = std::make_shared<graph::Conv2dWeights>();
  graph::Conv2dProblem& p = weights->problem;
  p.from = c.from;
  p.to.channels = c.channels;
  p.kernel = c.kernel;
  p.stride = c.stride;
  p.padding = c.padding;
  p.dilation = c.dilation;
  p.groups = c.groups;
  p.activation = activation;
  p.has_bias = has_bias;
  SetWidths(p.kernel, p.dilation, p);
  weights->w = tensor::RandomNormal(c.channels * c.from.channels / c.groups *
                                        c.kernel.height * c.kernel.width,
                                    1);
  if (has_bias) weights->bias = tensor::RandomNormal(c.channels, 2);
  return weights;
}

void ExpectConvolved(const graph::Conv2dWeights& weights,
                     const std::vector<float>& x, const std::vector<float>& y) {
  const graph::Conv2dProblem& p = weights.problem;
  const int64_t rows = static_cast<int64_t>(x.size()) / p.input_width;
  ASSERT_EQ(static_cast<int64_t>(y.size()), rows * p.output_width);
  for (int64_t row = 0; row < rows; ++row) {
    ForEachOutput(p.to, [&](int64_t at, int64_t o, int64_t i, int64_t j) {
      ExpectWithin(
          y[static_cast<size_t>(row * p.output_width + at)],
          ConvolvedAt(weights, x.data() + row * p.input_width, o, i, j),
          p.ToString() + " row " + std::to_string(row) + " element " +
              std::to_string(at));
    });
  }
}

class Conv2dTest
    : public testing::TestWithParam<KernelEntry<graph::Conv2dWeights>> {
 protected:
  static bool Supports(const ConvCase& c) {
    return GetParam().supports(Conv(c)->problem);
  }

  // Those of kConvCases that the kernel can compute.
  static std::vector<ConvCase> Cases();

  std::unique_ptr<Kernel> Make(
      const std::shared_ptr<const graph::Conv2dWeights>& weights) const {
    EXPECT_TRUE(GetParam().supports(weights->problem));
    EXPECT_GT(GetParam().cost(weights->problem, 1), 0);
    return GetParam().make(weights);
  }

  void ExpectRight(const std::shared_ptr<const graph::Conv2dWeights>& weights,
                   int64_t rows, int threads) const {
    const std::vector<float> x = Random(rows * weights->problem.input_width, 3);
    ExpectConvolved(*weights, x,
                    Compute(*Make(weights), weights->problem, x, threads));
  }
};

const ConvCase kConvCases[] = {
    {{1, 1, 1}, 1, {1, 1}},
    {{3, 32, 32}, 6, {5, 5}},
    {{6, 14, 14}, 16, {5, 5}},
    {{5, 7, 9}, 3, {1, 1}},
    {{16, 9, 7}, 24, {1, 1}, {2, 3}},
    {{8, 11, 13}, 8, {3, 3}, {1, 1}, {1, 1}},
    {{7, 11, 13}, 17, {3, 2}, {2, 1}, {1, 0}},
    {{16, 10, 10}, 16, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
    {{3, 12, 15}, 5, {2, 3}, {2, 2}, {3, 1}, {3, 2}},
    {{16, 8, 8}, 32, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2},
    {{6, 9, 9}, 9, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 3},
    {{16, 9, 9}, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 16},
    {{5, 9, 8}, 5, {5, 3}, {2, 1}, {2, 1}, {1, 1}, 5},
    {{4, 9, 8}, 12, {3, 3}, {1, 1}, {1, 1}, {2, 2}, 4},
    {{3, 30, 30}, 16, {7, 7}, {2, 2}, {3, 3}},
    {{3, 16, 24}, 10, {8, 8}, {8, 8}},       // patches
    {{2, 3, 3}, 3, {2, 2}, {1, 1}, {3, 3}},  // windows wholly in the padding
    {{33, 5, 4}, 7, {5, 4}},                 // the whole picture
    // Windows side by side, with few weights.
    {{1, 28, 28}, 8, {4, 4}, {4, 4}},
    {{1, 28, 28}, 5, {7, 4}, {7, 4}},
    {{2, 11, 13}, 3, {2, 3}, {3, 4}},  // columns and rows that none sees
    {{3, 9, 9}, 12, {3, 3}, {3, 3}},
    {{3, 9, 9}, 33, {1, 3}, {1, 3}},
    {{4, 6, 6}, 8, {3, 2}, {3, 2}, {0, 0}, {1, 1}, 4},
    {{7, 4, 28}, 56, {4, 4}, {4, 4}, {0, 0}, {1, 1}, 7},
    {{7, 4, 28}, 21, {4, 28}, {4, 28}, {0, 0}, {1, 1}, 7},  // a linear layer
    {{56, 1, 7}, 56, {1, 7}, {1, 7}, {0, 0}, {1, 1}, 7},    // per group
    {{6, 2, 3}, 12, {2, 3}, {1, 1}, {0, 0}, {1, 1}, 3},
    {{5, 1, 1}, 5, {1, 1}, {2, 2}, {0, 0}, {3, 3}, 5},
};

std::vector<ConvCase> Conv2dTest::Cases() {
  std::vector<ConvCase> cases;
  for (const ConvCase& c : kConvCases) {
    if (Supports(c)) cases.push_back(c);
  }
  EXPECT_GE(cases.size(), 12u);
  return cases;
}

TEST_P(Conv2dTest, EveryShapeIsWithinTheBound) {
  for (const ConvCase& c : Cases()) {
    for (const bool has_bias : {true, false}) {
      ExpectRight(Conv(c, Activation::kRelu, has_bias), 2, 1);
      ExpectRight(Conv(c, Activation::kIdentity, has_bias), 3, 2);
    }
  }
}

TEST_P(Conv2dTest, EveryActivationIsWithinTheBound) {
  const ConvCase cases[] = {
      {{3, 9, 9}, 12, {3, 3}},
      {{16, 9, 9}, 16, {3, 3}},
      {{6, 9, 9}, 9, {3, 3}, {1, 1}, {0, 0}, {1, 1}, 3},
      {{3, 9, 9}, 12, {3, 3}, {3, 3}},
      {{6, 4, 9}, 9, {4, 9}, {1, 1}, {0, 0}, {1, 1}, 3},
  };
  for (const Activation activation : graph::kActivations) {
    for (const ConvCase& c : cases) {
      if (!Supports(c)) continue;
      ExpectRight(Conv(c, activation), 3, 2);
      ExpectRight(Conv(c, activation, false), 1, 1);
    }
  }
}

TEST_P(Conv2dTest, AnyNumberOfRowsWithAnyNumberOfThreads) {
  const ConvCase cases[] = {{{3, 8, 8}, 6, {3, 3}},
                            {{3, 8, 8}, 6, {2, 2}, {2, 2}},
                            {{4, 2, 6}, 8, {2, 6}, {2, 6}, {0, 0}, {1, 1}, 4}};
  for (const ConvCase& c : cases) {
    if (!Supports(c)) continue;
    const auto weights = Conv(c, Activation::kRelu);
    for (const int64_t rows : {0, 1, 2, 3, 40}) {
      for (const int threads : {1, 2, 5}) ExpectRight(weights, rows, threads);
    }
  }
}

TEST_P(Conv2dTest, ARowIsTheSameAloneAndInABatch) {
  for (const ConvCase& c : Cases()) {
    const auto weights = Conv(c, Activation::kGelu);
    SCOPED_TRACE(weights->problem.ToString());
    ExpectRowsToBeIndependent(*Make(weights), weights->problem);
  }
}

TEST_P(Conv2dTest, NanStaysInItsWindowsAndItsRow) {
  for (const ConvCase& c : Cases()) {
    const auto weights = Conv(c);
    const graph::Conv2dProblem& p = weights->problem;
    std::vector<float> x = Random(3 * p.input_width, 4);
    x[static_cast<size_t>(p.input_width + p.input_width / 2)] = kNan;
    ExpectConvolved(*weights, x, Compute(*Make(weights), p, x, 2));
  }
}

TEST_P(Conv2dTest, NanReachesNoOtherElementWhateverTheActivation) {
  const ConvCase overlapping = {{4, 9, 9}, 6, {3, 3}};
  const ConvCase apart = {{4, 9, 9}, 6, {3, 3}, {3, 3}};
  for (const Activation activation : graph::kActivations) {
    const auto weights =
        Conv(Supports(overlapping) ? overlapping : apart, activation);
    const graph::Conv2dProblem& p = weights->problem;
    std::vector<float> x = Random(p.input_width, 5);
    const auto kernel = Make(weights);
    const std::vector<float> clean = Compute(*kernel, p, x);
    x[0] = kNan;  // seen by the first element of each channel alone
    const std::vector<float> y = Compute(*kernel, p, x);
    ForEachOutput(p.to, [&](int64_t at, int64_t, int64_t i, int64_t j) {
      if (i == 0 && j == 0) return;
      const auto index = static_cast<size_t>(at);
      EXPECT_EQ(y[index], clean[index]) << Name(activation) << " " << at;
    });
  }
}

// 0 * infinity of the padded channels or the border would be NaN.
TEST_P(Conv2dTest, AnInfinityMeetsNoZeroOfThePadding) {
  const ConvCase padded = {{3, 5, 5}, 5, {3, 3}, {1, 1}, {1, 1}};
  const ConvCase filled = {{3, 6, 6}, 5, {3, 3}, {3, 3}};  // whole vectors
  const auto weights = Conv(Supports(padded) ? padded : filled);
  const graph::Conv2dProblem& p = weights->problem;
  std::vector<float> x = Random(p.input_width, 6);
  x[12] = std::numeric_limits<float>::infinity();
  const std::vector<float> y = Compute(*Make(weights), p, x);
  for (const float value : y) EXPECT_FALSE(std::isnan(value));
}

std::string PlannedKernel(const ConvCase& c, const PlanOptions& options = {}) {
  const absl::StatusOr<KernelPlan> plan =
      PlanOp(graph::Conv2d{{Conv(c)}}, options);
  return plan.ok() ? std::string(plan->KernelNameFor(1))
                   : std::string(plan.status().message());
}

TEST(Conv2dPlanTest, PatchesOfFewWeightsHaveTheirKernel) {
  PlanOptions alike;
  alike.same_in_every_batch = true;
  const ConvCase cases[] = {
      {{1, 28, 28}, 8, {4, 4}, {4, 4}},
      {{7, 4, 28}, 21, {4, 28}, {1, 1}, {0, 0}, {1, 1}, 7}};
  for (const ConvCase& c : cases) {
    EXPECT_EQ(PlannedKernel(c), "conv2d_patches");
    EXPECT_EQ(PlannedKernel(c, alike), "conv2d_patches");
  }
}

TEST(Conv2dPlanTest, OthersAreLeftToOnednn) {
  PlanOptions patches;
  patches.kernel_name = "conv2d_patches";
  const ConvCase cases[] = {
      {{1, 28, 28}, 8, {4, 4}, {3, 4}},          // windows overlap
      {{1, 28, 28}, 8, {4, 4}, {4, 4}, {0, 1}},  // padding
      {{1, 28, 28}, 8, {4, 4}, {8, 8}, {0, 0}, {2, 1}},
      {{33, 8, 8}, 16, {4, 4}, {4, 4}},  // 8,448 weights
      {{1, 128, 128}, 5, {1, 1}},        // 81,920 outputs
  };
  for (const ConvCase& c : cases) {
    EXPECT_EQ(PlannedKernel(c), "conv2d_onednn");
    EXPECT_NE(PlannedKernel(c, patches).find("cannot compute"),
              std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Conv2dTest,
                         testing::ValuesIn(KernelsOf<graph::Conv2d>()),
                         NameOf<KernelEntry<graph::Conv2dWeights>>);

}  // namespace
}  // namespace fff::engine

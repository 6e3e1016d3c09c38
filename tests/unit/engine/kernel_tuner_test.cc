#include "server/engine/kernel_tuner.h"

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/kernel_plan.h"

namespace fff::engine {
namespace {

using testing::HasSubstr;

// Counts its calls and remembers the batch sizes.
class CountingKernel : public Kernel {
 public:
  absl::string_view name() const override { return "counting"; }
  void Run(tensor::ConstRows x, tensor::MutableRows y, const RouteSink&,
           ExecutionContext& context) const override {
    EXPECT_EQ(context.threads(), 1);
    EXPECT_EQ(x.rows, y.rows);
    rows_.push_back(x.rows);
    std::fill_n(y.data, y.rows * y.width, x.data[0]);
  }
  const std::vector<int64_t>& rows() const { return rows_; }

 private:
  mutable std::vector<int64_t> rows_;
};

TEST(FastestKernelTest, TheFastestWins) {
  EXPECT_EQ(FastestKernel({3.0, 1.0, 2.0}, 0), 1U);
  EXPECT_EQ(FastestKernel({3.0, 1.0, 2.0}, 1), 1U);
}

TEST(FastestKernelTest, ThePredictedOneStaysWhereTimesAreAlike) {
  EXPECT_EQ(FastestKernel({1.04, 1.0}, 0), 0U);
  EXPECT_EQ(FastestKernel({1.06, 1.0}, 0), 1U);
  EXPECT_EQ(FastestKernel({1.0}, 0), 0U);
}

TEST(MeasureKernelsTest, MeasuresEveryKernelAtEveryBatchSizeItHasTimeFor) {
  const CountingKernel a;
  const CountingKernel b;
  const auto times = MeasureKernels({&a, &b}, 3, 2, /*rows_max=*/8, 60);
  ASSERT_EQ(times.size(), 4U);
  for (size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(times[i].rows, int64_t{1} << i);
    ASSERT_EQ(times[i].seconds.size(), 2U);
    EXPECT_GT(times[i].seconds[0], 0);
    EXPECT_GT(times[i].seconds[1], 0);
  }
  EXPECT_FALSE(b.rows().empty());
}

TEST(MeasureKernelsTest, NoBudgetMeasuresNothing) {
  const CountingKernel kernel;
  EXPECT_TRUE(MeasureKernels({&kernel}, 3, 2, 8, 0).empty());
  EXPECT_TRUE(kernel.rows().empty());
}

TEST(MeasureKernelsTest, ASpentBudgetEndsAfterTheFirstBatchSize) {
  const CountingKernel kernel;
  const auto times = MeasureKernels({&kernel}, 3, 2, 1 << 14, 1e-9);
  ASSERT_EQ(times.size(), 1U);
  EXPECT_EQ(times[0].rows, 1);
}

TEST(MeasureKernelsTest, RowsThatDoNotFitTheBoundAreNotMeasured) {
  const CountingKernel kernel;
  EXPECT_TRUE(MeasureKernels({&kernel}, int64_t{1} << 24, 1, 8, 60).empty());
}

std::shared_ptr<const LeafWeights> Leaf() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto draw = [&](int64_t size) {
    tensor::FloatBuffer values(size);
    for (float& value : values.span()) value = normal(random);
    return std::move(values).Freeze();
  };
  auto weights = std::make_shared<LeafWeights>();
  LeafProblem& p = weights->problem;
  p = {40, 6, 5, 4, Tie::kRight, Activation::kRelu, true};
  weights->node_weights = draw(p.nodes() * p.input_width);
  weights->node_biases = draw(p.nodes());
  weights->w1 = draw(p.leaves() * p.input_width * p.leaf_width);
  weights->b1 = draw(p.leaves() * p.leaf_width);
  weights->w2 = draw(p.leaves() * p.leaf_width * p.output_width);
  weights->b2 = draw(p.leaves() * p.output_width);
  return weights;
}

TEST(TunedPlanTest, SaysWhatWasMeasuredAndAgainstWhat) {
  PlanOptions options;
  options.tuning_seconds = 1e-9;  // the first batch size alone
  const auto plan = PlanLeaf(Leaf(), options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->steps().front().reason, HasSubstr("measured: "));
  EXPECT_THAT(plan->steps().front().reason,
              HasSubstr("at 1 rows against leaf"));
  for (size_t i = 1; i < plan->steps().size(); ++i) {
    EXPECT_THAT(plan->steps()[i].reason, HasSubstr("predicted cost"));
  }
}

TEST(TunedPlanTest, WithoutABudgetThePlanIsTheSameEveryTime) {
  const auto a = PlanLeaf(Leaf(), {});
  const auto b = PlanLeaf(Leaf(), {});
  ASSERT_TRUE(a.ok() && b.ok());
  ASSERT_EQ(a->steps().size(), b->steps().size());
  for (size_t i = 0; i < a->steps().size(); ++i) {
    EXPECT_EQ(a->steps()[i].kernel, b->steps()[i].kernel);
    EXPECT_EQ(a->steps()[i].reason, b->steps()[i].reason);
    EXPECT_THAT(a->steps()[i].reason, HasSubstr("predicted cost"));
  }
}

TEST(TunedPlanTest, AKernelAskedForByNameIsNotMeasured) {
  PlanOptions options;
  options.tuning_seconds = 1;
  options.kernel_name = "leaf_grouped";
  const auto plan = PlanLeaf(Leaf(), options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps().size(), 1U);
  EXPECT_EQ(plan->steps()[0].reason, "asked for by name");
}

}  // namespace
}  // namespace fff::engine

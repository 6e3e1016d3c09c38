#include "server/engine/kernel_tuner.h"

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

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Time passes only while something is sampled.
struct FakeClock {
  double now_s = 0;
};

// Kernels whose batches take a fixed time and a time per row.
struct FakeKernel {
  std::string name;
  double batch_s = 0;
  double row_s = 0;
  double cost = -1;  // per row; negative: nobody can tell
  bool refuses = false;
  int64_t rows_max = kTunedRowsMax;  // no candidate above
};

class FakeLayer : public TunedLayer {
 public:
  FakeLayer(FakeClock* clock, std::vector<FakeKernel> kernels)
      : clock_(clock), kernels_(std::move(kernels)) {}
  absl::string_view device() const override { return "fake"; }
  std::vector<Candidate> Candidates(int64_t rows) const override {
    std::vector<Candidate> found;
    for (size_t k = 0; k < kernels_.size(); ++k) {
      if (rows <= kernels_[k].rows_max) found.push_back({k, 0});
    }
    return found;
  }
  std::string Name(const Candidate& candidate) const override {
    return kernels_[candidate.kernel].name;
  }
  std::optional<double> Cost(const Candidate& candidate,
                             int64_t rows) const override {
    const double cost = kernels_[candidate.kernel].cost;
    if (cost < 0) return std::nullopt;
    return cost * static_cast<double>(rows);
  }
  absl::StatusOr<double> Sample(const Candidate& candidate,
                                int64_t rows) override {
    const FakeKernel& kernel = kernels_[candidate.kernel];
    if (!failure.ok()) return failure;
    if (kernel.refuses) return absl::UnimplementedError("not this size");
    sampled.push_back(rows);
    const double took = kernel.batch_s + kernel.row_s * double(rows);
    clock_->now_s += took;
    return took;
  }
  std::vector<int64_t> sampled;  // rows of each sample
  absl::Status failure;

 private:
  FakeClock* clock_;
  std::vector<FakeKernel> kernels_;
};

class ChooseKernelsTest : public testing::Test {
 protected:
  TunerOptions Options(double budget_s, int64_t rows_max) {
    TunerOptions options;
    options.budget_s = budget_s;
    options.rows_max = rows_max;
    options.now_s = [this] { return clock_.now_s; };
    return options;
  }
  // "rows:kernel" of each choice.
  static std::vector<std::string> Words(const FakeLayer& layer,
                                        const Choices& choices) {
    std::vector<std::string> words;
    for (const Choice& choice : choices) {
      words.push_back(std::to_string(choice.rows_min) + ":" +
                      layer.Name(choice.candidate));
    }
    return words;
  }
  FakeClock clock_;
};

TEST_F(ChooseKernelsTest, TheFastestServesEachBatchSize) {
  FakeLayer layer(&clock_, {{"few", 0, 1.0}, {"many", 6, 0.1}});
  const auto choices = ChooseKernels({&layer}, Options(1e9, 64));
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(Words(layer, (*choices)[0]), ElementsAre("1:few", "8:many"));
  EXPECT_EQ((*choices)[0][1].reason,
            "measured: 8.5e+05 us/row at 8 rows against few 1e+06");
}

TEST_F(ChooseKernelsTest, SmallestBatchesComeFirstAndEveryLayerHasItsTurn) {
  FakeLayer a(&clock_, {{"a", 1, 0}, {"b", 2, 0}});
  FakeLayer b(&clock_, {{"c", 1, 0}, {"d", 2, 0}});
  // 6 s for one row in both layers; two rows are expected to take 6 s per
  // layer.
  const auto choices = ChooseKernels({&a, &b}, Options(13, 1024));
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(a.sampled, ElementsAre(1, 1, 2, 2));
  EXPECT_THAT(b.sampled, ElementsAre(1, 1));
}

TEST_F(ChooseKernelsTest, KeepsToItsBudget) {
  for (const double budget : {0.5, 3.0, 20.0, 300.0}) {
    clock_.now_s = 0;
    FakeLayer layer(&clock_, {{"a", 0, 0.1}, {"b", 0, 0.2}});
    ASSERT_TRUE(ChooseKernels({&layer}, Options(budget, 16384)).ok());
    EXPECT_LE(clock_.now_s, budget);
    EXPECT_GT(clock_.now_s, budget / 4) << "time was left for more";
  }
}

TEST_F(ChooseKernelsTest, TheFirstBatchSizeIsMeasuredOnAnyBudgetButNone) {
  FakeLayer tried(&clock_, {{"a", 5, 0}, {"b", 4, 0}});
  ASSERT_TRUE(ChooseKernels({&tried}, Options(1e-9, 8)).ok());
  EXPECT_THAT(tried.sampled, ElementsAre(1, 1));
  FakeLayer untried(&clock_, {{"a", 5, 0}, {"b", 4, 0}});
  ASSERT_TRUE(ChooseKernels({&untried}, Options(0, 8)).ok());
  EXPECT_THAT(untried.sampled, ElementsAre());
}

TEST_F(ChooseKernelsTest, WhatIsNotMeasuredGoesByCostWhereThereIsOne) {
  FakeLayer layer(&clock_, {{"a", 4, 0, 3}, {"b", 5, 0, 2}});
  const auto choices = ChooseKernels({&layer}, Options(10, 8));
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(Words(layer, (*choices)[0]), ElementsAre("1:a", "2:b"));
  EXPECT_EQ((*choices)[0][1].reason,
            "least predicted cost: 2e+06 us/row at 2 rows against a 3e+06");
}

// Two samples of both, one of them to begin with, are predicted to take 10 s.
TEST_F(ChooseKernelsTest, AFirstBatchSizeThatIsPredictedTooLongIsNotMeasured) {
  FakeLayer layer(&clock_, {{"a", 4, 0, 3}, {"b", 5, 0, 2}});
  const auto choices = ChooseKernels({&layer}, Options(9.9, 8));
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(Words(layer, (*choices)[0]), ElementsAre("1:b"));
  EXPECT_THAT(layer.sampled, ElementsAre());
  // But a small layer always is.
  FakeLayer small(&clock_, {{"a", 4, 0, 3e-4}, {"b", 5, 0, 1e-4}});
  ASSERT_TRUE(ChooseKernels({&small}, Options(1e-9, 8)).ok());
  EXPECT_THAT(small.sampled, ElementsAre(1, 1));
}

TEST_F(ChooseKernelsTest, WithoutCostsTheChoiceOfTheSizeBelowStays) {
  FakeLayer layer(&clock_, {{"a", 5, 0}, {"b", 4, 0}});
  const auto choices = ChooseKernels({&layer}, Options(1e-9, 1024));
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(Words(layer, (*choices)[0]), ElementsAre("1:b"));
  const auto none = ChooseKernels({&layer}, Options(0, 1024));
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(Words(layer, (*none)[0]), ElementsAre("1:a"));
  EXPECT_THAT((*none)[0][0].reason, HasSubstr("not measured"));
}

TEST_F(ChooseKernelsTest, AnOnlyKernelIsNotMeasured) {
  FakeLayer layer(&clock_, {{"few", 5, 0, -1, false, 4}, {"any", 6, 0}});
  const auto choices = ChooseKernels({&layer}, Options(100, 16));
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(Words(layer, (*choices)[0]), ElementsAre("1:few", "8:any"));
  EXPECT_EQ((*choices)[0][1].reason, "the only kernel on fake for this layer");
  EXPECT_THAT(layer.sampled, Not(testing::Contains(8)));
}

TEST_F(ChooseKernelsTest, ACandidateThatRefusesIsLeftOutAndTheReasonSaysSo) {
  FakeLayer layer(&clock_, {{"a", 1, 0, -1, true}, {"b", 5, 0}, {"c", 9, 0}});
  const auto choices = ChooseKernels({&layer}, Options(100, 1));
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(Words(layer, (*choices)[0]), ElementsAre("1:b"));
  EXPECT_THAT((*choices)[0][0].reason,
              HasSubstr("against c 9e+06; left out a: not this size"));
}

TEST_F(ChooseKernelsTest, WithEveryCandidateLeftOutThereIsAnError) {
  FakeLayer layer(&clock_, {{"a", 1, 0, -1, true}, {"b", 1, 0, -1, true}});
  const auto choices = ChooseKernels({&layer}, Options(100, 1));
  EXPECT_EQ(choices.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(choices.status().message()),
              HasSubstr("layer 0: no kernel ran at 1 rows; left out a: not"));
}

TEST_F(ChooseKernelsTest, AnyOtherErrorEndsTheTuning) {
  FakeLayer layer(&clock_, {{"a", 1, 0}, {"b", 1, 0}});
  layer.failure = absl::InternalError("device lost");
  const auto choices = ChooseKernels({&layer}, Options(100, 1));
  EXPECT_EQ(choices.status(), absl::InternalError("layer 0: device lost"));
}

TEST_F(ChooseKernelsTest, BatchesAboveTheBoundAreChosenButNotMeasured) {
  FakeLayer layer(&clock_, {{"a", 5, 0, 1}, {"b", 4, 0, 2}});
  TunerOptions options = Options(100, 8);
  options.measured_rows_max = 2;
  options.turns = 2;
  const auto choices = ChooseKernels({&layer}, options);
  ASSERT_TRUE(choices.ok()) << choices.status();
  EXPECT_THAT(layer.sampled, ElementsAre(1, 1, 1, 1, 2, 2, 2, 2));
  EXPECT_THAT(Words(layer, (*choices)[0]), ElementsAre("1:b", "4:a"));
}

TEST(ChoiceForTest, TheLastStepThatBeginsAtOrBelowServes) {
  const Choices choices = {{1, {0, 0}, ""}, {8, {1, 0}, ""}, {64, {2, 0}, ""}};
  EXPECT_EQ(ChoiceFor(choices, 1).candidate.kernel, 0U);
  EXPECT_EQ(ChoiceFor(choices, 7).candidate.kernel, 0U);
  EXPECT_EQ(ChoiceFor(choices, 8).candidate.kernel, 1U);
  EXPECT_EQ(ChoiceFor(choices, 100000).candidate.kernel, 2U);
}

TEST(FastestKernelTest, TheFastestWins) {
  EXPECT_EQ(FastestKernel({3.0, 1.0, 2.0}, 0), 1U);
  EXPECT_EQ(FastestKernel({3.0, 1.0, 2.0}, 1), 1U);
}

TEST(FastestKernelTest, ThePredictedOneStaysWhereTimesAreAlike) {
  EXPECT_EQ(FastestKernel({1.04, 1.0}, 0), 0U);
  EXPECT_EQ(FastestKernel({1.06, 1.0}, 0), 1U);
  EXPECT_EQ(FastestKernel({1.0}, 0), 0U);
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

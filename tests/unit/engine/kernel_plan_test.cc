#include "server/engine/kernel_plan.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/tuning_memo.h"
#include "server/tensor/random.h"

namespace fff::engine {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

tensor::FloatArray Filled(int64_t size, float value) {
  tensor::FloatBuffer buffer(size);
  for (float& v : buffer.span()) v = value;
  return std::move(buffer).Freeze();
}

std::shared_ptr<const PathWeights> Path(int64_t width, int levels) {
  auto weights = std::make_shared<PathWeights>();
  weights->problem = {width, width, levels, 1, Tie::kLeft, Activation::kGelu,
                      false};
  const int64_t size = weights->problem.nodes() * width;
  weights->x = Filled(size, 0.5f);
  weights->y = Filled(size, 0.25f);
  return weights;
}

std::shared_ptr<const LeafWeights> Leaf(int64_t in, int64_t leaf, int64_t out,
                                        int depth) {
  auto weights = std::make_shared<LeafWeights>();
  LeafProblem& p = weights->problem;
  p = {in, leaf, out, depth, Tie::kRight, Activation::kRelu, true};
  weights->node_weights = Filled(p.nodes() * in, 1);
  weights->node_biases = Filled(p.nodes(), 0);
  weights->w1 = Filled(p.leaves() * in * leaf, 1);
  weights->b1 = Filled(p.leaves() * leaf, 0);
  weights->w2 = Filled(p.leaves() * leaf * out, 1);
  weights->b2 = Filled(p.leaves() * out, 0);
  return weights;
}

std::shared_ptr<const DenseWeights> Dense(int64_t in, int64_t out) {
  auto weights = std::make_shared<DenseWeights>();
  weights->problem = {in, out, Activation::kIdentity, false};
  weights->w = Filled(in * out, 1);
  return weights;
}

void ExpectSound(const KernelPlan& plan) {
  ASSERT_FALSE(plan.steps().empty());
  EXPECT_EQ(plan.steps().front().rows_min, 1);
  for (size_t i = 0; i < plan.steps().size(); ++i) {
    const KernelPlan::Step& step = plan.steps()[i];
    EXPECT_FALSE(step.reason.empty());
    EXPECT_EQ(plan.KernelNameFor(step.rows_min), step.kernel);
    if (i == 0) continue;
    EXPECT_GT(step.rows_min, plan.steps()[i - 1].rows_min);
    EXPECT_NE(step.kernel, plan.steps()[i - 1].kernel) << "equal neighbours";
    EXPECT_EQ(plan.KernelNameFor(step.rows_min - 1),
              plan.steps()[i - 1].kernel);
  }
}

TEST(KernelPlan, CoversEveryBatchSizeWithoutEqualNeighbours) {
  for (const int levels : {1, 5, 10}) {
    const auto plan = PlanPath(Path(64, levels), {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    ExpectSound(*plan);
  }
  for (const int depth : {0, 4, 8}) {
    const auto plan = PlanLeaf(Leaf(64, 16, 10, depth), {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    ExpectSound(*plan);
  }
  const auto plan = PlanDense(Dense(64, 10), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ExpectSound(*plan);
}

TEST(KernelPlan, NeverPicksTheOracleByItself) {
  const auto plan = PlanPath(Path(8, 3), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const KernelPlan::Step& step : plan->steps()) {
    EXPECT_NE(step.kernel, "path_reference");
  }
}

TEST(KernelPlan, UsesTheNamedKernelForEveryBatchSize) {
  const auto plan = PlanPath(Path(8, 3), {"path_reference"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->steps().size(), 1u);
  EXPECT_EQ(plan->KernelNameFor(1), "path_reference");
  EXPECT_EQ(plan->KernelNameFor(100000), "path_reference");
  EXPECT_EQ(plan->steps()[0].reason, "asked for by name");
}

TEST(KernelPlan, AnUnknownNameIsNotFoundAndListsWhatThereIs) {
  const auto plan = PlanPath(Path(8, 3), {"path_magic"});
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(plan.status().message()),
              testing::AllOf(HasSubstr("path_magic"), HasSubstr("path_walk")));
}

TEST(KernelPlan, ANamedKernelThatCannotComputeTheLayerIsUnimplemented) {
  auto weights = std::make_shared<PathWeights>();
  weights->problem = Path(8, 3)->problem;
  weights->problem.precision = Precision::kInt8;
  const auto plan = PlanPath(weights, {"path_masked"});
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("path_masked on cpu cannot compute"));
}

TEST(KernelPlan, ReasonsNameCostsOrTheLackOfARival) {
  const auto plan = PlanPath(Path(768, 6), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const KernelPlan::Step& step : plan->steps()) {
    EXPECT_THAT(step.reason, testing::AnyOf(HasSubstr("us/row"),
                                            HasSubstr("the only kernel")));
  }
}

TEST(KernelPlan, RunsTheLayer) {
  const auto plan = PlanDense(Dense(3, 2), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  std::vector<float> y(4, -1);
  ExecutionContext context(1);
  plan->Run({x.data(), 2, 3}, {y.data(), 2, 2}, {}, context);
  EXPECT_THAT(y, testing::ElementsAre(6, 6, 15, 15));
}

TEST(KernelPlan, CountsThePackedCopiesOfTheKernelsItUses) {
  const auto packed = PlanDense(Dense(3, 2), {"dense_onednn"});
  ASSERT_TRUE(packed.ok()) << packed.status();
  ASSERT_EQ(packed->packed().size(), 1U);
  EXPECT_GE(packed->packed()[0].bytes, 3 * 2 * 4);
  EXPECT_FALSE(packed->reads_plain_rows());
  const auto plain = PlanDense(Dense(3, 2), {"dense_dot"});
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_THAT(plain->packed(), testing::IsEmpty());
  EXPECT_TRUE(plain->reads_plain_rows());
}

// That of the matrix; kernels hold biases, too.
const void* LargestCopy(const KernelPlan& plan) {
  PackedCopy largest = {nullptr, 0};
  for (const PackedCopy& copy : plan.packed()) {
    if (copy.bytes > largest.bytes) largest = copy;
  }
  return largest.copy;
}

TEST(KernelPlan, KernelsThatPackShareTheirCopyAndCanUnpackIt) {
  for (const auto& [in, out] : std::vector<std::pair<int64_t, int64_t>>{
           {3, 2}, {16, 64}, {100, 33}, {128, 256}, {300, 65}}) {
    auto weights = std::make_shared<DenseWeights>();
    weights->problem = {in, out};
    weights->w = tensor::RandomNormal(in * out);
    for (const std::string name : {"dense_onednn", "dense_panel"}) {
      const auto plan = PlanDense(weights, {name});
      ASSERT_TRUE(plan.ok()) << plan.status();
      const auto again = PlanDense(weights, {name});
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(LargestCopy(*plan), LargestCopy(*again));
      const graph::PackedCopies::Copy copy = weights->copies.Any();
      ASSERT_NE(copy, nullptr);
      const tensor::FloatArray plain = copy->Plain();
      EXPECT_EQ(plain.span(), weights->w.span()) << name << " " << in;
    }
    EXPECT_EQ(weights->copies.Any(), nullptr) << "no kernel is left";
  }
}

TEST(KernelPlan, LargeMatricesAreHeldInOneLayout) {
  PlanOptions options;
  options.tuning_seconds = 0.01;
  const auto plan = PlanDense(Dense(768, 1024), options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->reads_plain_rows());
}

TEST(KernelPlan, FewRowsAndManyGoToDifferentKernels) {
  const auto path = PlanPath(Path(768, 6), {});
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(path->KernelNameFor(1), "path_walk");
  EXPECT_EQ(path->KernelNameFor(4096), "path_two_phase");
  const auto leaf = PlanLeaf(Leaf(64, 16, 10, 4), {});
  ASSERT_TRUE(leaf.ok()) << leaf.status();
  EXPECT_EQ(leaf->KernelNameFor(1), "leaf_walk");
  EXPECT_EQ(leaf->KernelNameFor(4096), "leaf_grouped");
  const auto dense = PlanDense(Dense(256, 256), {});
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_EQ(dense->KernelNameFor(1), "dense_panel");
  EXPECT_EQ(dense->KernelNameFor(4096), "dense_onednn");
}

TEST(KernelPlan, LayersOfOneShapeAreMeasuredOnce) {
  TuningMemo memo;
  PlanOptions options;
  options.tuning_seconds = 0.01;
  options.memo = &memo;
  const auto first = PlanLeaf(Leaf(64, 16, 10, 4), options);
  const auto second = PlanLeaf(Leaf(64, 16, 10, 4), options);
  const auto other = PlanLeaf(Leaf(64, 16, 10, 3), options);
  ASSERT_TRUE(first.ok() && second.ok() && other.ok());
  constexpr char kRemembered[] = ", for a layer of this shape";
  EXPECT_THAT(first->steps()[0].reason, Not(EndsWith(kRemembered)));
  EXPECT_THAT(other->steps()[0].reason, Not(EndsWith(kRemembered)));
  ASSERT_EQ(second->steps().size(), first->steps().size());
  for (size_t i = 0; i < first->steps().size(); ++i) {
    EXPECT_EQ(second->steps()[i].kernel, first->steps()[i].kernel);
    EXPECT_EQ(second->steps()[i].reason,
              first->steps()[i].reason + kRemembered);
  }
  // Without time to measure, nothing measured is taken either.
  options.tuning_seconds = 0;
  const auto predicted = PlanLeaf(Leaf(64, 16, 10, 4), options);
  ASSERT_TRUE(predicted.ok());
  EXPECT_THAT(predicted->steps()[0].reason, Not(EndsWith(kRemembered)));
}

TEST(KernelPlan, InFrontOfRoutesOneKernelServesEveryBatch) {
  PlanOptions options;
  options.same_in_every_batch = true;
  options.tuning_seconds = 0.01;
  const auto dense = PlanDense(Dense(256, 256), options);
  ASSERT_TRUE(dense.ok()) << dense.status();
  ASSERT_EQ(dense->steps().size(), 1U);
  EXPECT_EQ(dense->steps()[0].kernel, "dense_panel");
  // A family without such a kernel keeps its choice, here that of predicted
  // cost.
  options.tuning_seconds = 0;
  const auto leaf = PlanLeaf(Leaf(64, 16, 10, 4), options);
  ASSERT_TRUE(leaf.ok()) << leaf.status();
  EXPECT_EQ(leaf->KernelNameFor(1), "leaf_walk");
}

// 128 trees: all nodes densely cost less than their paths from a few rows on.
std::shared_ptr<const PathWeights> ManyTrees(int levels) {
  auto weights = std::make_shared<PathWeights>();
  PathProblem& p = weights->problem;
  p = {256, 256, levels, 128, Tie::kLeft, Activation::kGelu, false};
  weights->x = Filled(p.trees * p.nodes() * 256, 0.5f);
  weights->y = Filled(p.trees * p.nodes() * 256, 0.25f);
  return weights;
}

PlanOptions DenseAllowed() {
  PlanOptions options;
  options.dense_allowed = true;
  return options;
}

TEST(KernelPlan, EvaluatesDenselyOnlyWhereThatIsAllowed) {
  const auto plan = PlanPath(ManyTrees(2), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->KernelNameFor(256), "path_tiled");
  const auto dense = PlanPath(ManyTrees(2), DenseAllowed());
  ASSERT_TRUE(dense.ok()) << dense.status();
  ExpectSound(*dense);
  EXPECT_EQ(dense->KernelNameFor(1), "path_walk");
  EXPECT_EQ(dense->KernelNameFor(256), "path_masked");
}

TEST(KernelPlan, ManyTreesOfMoreLevelsAreNotEvaluatedDensely) {
  const auto plan = PlanPath(ManyTrees(5), DenseAllowed());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->KernelNameFor(1), "path_walk");
  EXPECT_EQ(plan->KernelNameFor(256), "path_tiled");
}

TEST(KernelPlan, DoesNotTryADenseKernelThatCannotComeNear) {
  const auto near = PathCandidates(ManyTrees(2)->problem, DenseAllowed());
  ASSERT_TRUE(near.ok()) << near.status();
  EXPECT_THAT(*near,
              testing::UnorderedElementsAre("path_walk", "path_tiled",
                                            "path_two_phase", "path_masked"));
  const auto far = PathCandidates(Path(64, 9)->problem, DenseAllowed());
  ASSERT_TRUE(far.ok()) << far.status();
  EXPECT_THAT(*far,
              testing::UnorderedElementsAre("path_walk", "path_two_phase"));
}

TEST(KernelPlan, FewTreesAreNotEvaluatedDensely) {
  for (const int levels : {4, 5}) {
    const auto plan = PlanPath(Path(768, levels), DenseAllowed());
    ASSERT_TRUE(plan.ok()) << plan.status();
    for (const KernelPlan::Step& step : plan->steps()) {
      EXPECT_NE(step.kernel, "path_masked") << levels << " " << step.reason;
    }
  }
}

TEST(KernelPlan, ADenseKernelIsThereForWhoNamesIt) {
  const auto plan = PlanPath(Path(8, 9), {"path_masked"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->KernelNameFor(1), "path_masked");
}

TEST(KernelPlan, ABatchOfNoRowsIsFine) {
  const auto plan = PlanLeaf(Leaf(4, 2, 3, 2), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ExecutionContext context(1);
  plan->Run({nullptr, 0, 4}, {nullptr, 0, 3}, {}, context);
}

TEST(KernelList, NamesAreUniqueAndMatchTheirKernels) {
  std::set<std::string> names;
  for (const PathKernelEntry& entry : KernelsOf<graph::FffPath>()) {
    EXPECT_TRUE(names.insert(std::string(entry.name)).second) << entry.name;
    EXPECT_EQ(entry.make(Path(4, 2))->name(), entry.name);
  }
  for (const LeafKernelEntry& entry : KernelsOf<graph::FffLeaf>()) {
    EXPECT_TRUE(names.insert(std::string(entry.name)).second) << entry.name;
    EXPECT_EQ(entry.make(Leaf(4, 2, 3, 2))->name(), entry.name);
  }
  for (const DenseKernelEntry& entry : KernelsOf<graph::Linear>()) {
    EXPECT_TRUE(names.insert(std::string(entry.name)).second) << entry.name;
    EXPECT_EQ(entry.make(Dense(4, 3))->name(), entry.name);
  }
}

TEST(KernelList, EveryFamilyHasItsOracle) {
  EXPECT_TRUE(KernelsOf<graph::FffPath>()[0].is_reference);
  EXPECT_TRUE(KernelsOf<graph::FffLeaf>()[0].is_reference);
  EXPECT_TRUE(KernelsOf<graph::Linear>()[0].is_reference);
}

TEST(KernelList, CostsArePositiveAndGrowWithTheBatch) {
  const PathProblem path = {768, 768, 12, 1, Tie::kLeft, Activation::kGelu,
                            true};
  for (const PathKernelEntry& entry : KernelsOf<graph::FffPath>()) {
    EXPECT_GT(entry.cost(path, 1), 0) << entry.name;
    EXPECT_GT(entry.cost(path, 4096), entry.cost(path, 64)) << entry.name;
  }
  const LeafProblem leaf = {784, 8, 10, 4, Tie::kRight, Activation::kRelu,
                            true};
  for (const LeafKernelEntry& entry : KernelsOf<graph::FffLeaf>()) {
    EXPECT_GT(entry.cost(leaf, 1), 0) << entry.name;
    EXPECT_GT(entry.cost(leaf, 4096), entry.cost(leaf, 64)) << entry.name;
  }
}

}  // namespace
}  // namespace fff::engine

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/parity/cases.h"
#include "tests/parity/grid.h"
#include "tests/parity/targets.h"

namespace fff::parity {
namespace {

using engine::LeafKernelEntry;
using graph::Activation;
using graph::LeafProblem;
using graph::LeafWeights;
using graph::Tie;

class LeafParity : public testing::TestWithParam<LeafKernelEntry> {};

TEST_P(LeafParity, AgreesWithTheOracleOnEveryProblem) {
  Tally normal;
  for (const auto& c : LeafCases()) {
    if (!GetParam().supports(c.problem)) continue;
    const auto weights = RandomLeaf(c.problem, c.values, 7);
    const auto kernel = GetParam().make(weights);
    for (const int64_t rows : c.batches) {
      SCOPED_TRACE(c.problem.ToString() + " " + Name(c.values) + " rows " +
                   std::to_string(rows));
      const auto x = RandomRows(rows, c.problem.input_width, c.values, 11);
      Tally tally;
      const Result one = RunLeaf(*kernel, c.problem, x, 1);
      EXPECT_TRUE(CheckLeaf(*weights, x, one, kCheckedRows, tally));
      if (c.values == Values::kIntegers) {
        EXPECT_EQ(tally.rerouted, 0);
      }
      if (c.values == Values::kNormal) {
        normal.rows += tally.rows;
        normal.rerouted += tally.rerouted;
      }
      const Result again = RunLeaf(*kernel, c.problem, x, 1);
      EXPECT_TRUE(SameBits(one.y, again.y)) << "differs from run to run";
      const Result two = RunLeaf(*kernel, c.problem, x, 2);
      EXPECT_THAT(two.leaves, testing::ContainerEq(one.leaves));
      EXPECT_TRUE(SameBits(one.margins, two.margins));
      EXPECT_TRUE(CheckLeaf(*weights, x, two, kCheckedRows, tally));
    }
  }
  EXPECT_GT(normal.rows, 500);
  EXPECT_LE(normal.rerouted, normal.rows / 200);
  RecordProperty("rows_compared", std::to_string(normal.rows));
  RecordProperty("rows_rerouted", std::to_string(normal.rerouted));
}

TEST_P(LeafParity, ARowsRouteDoesNotDependOnItsBatch) {
  const LeafProblem problem = {100, 20, 30, 8, Tie::kRight, Activation::kRelu,
                               true};
  const auto weights = RandomLeaf(problem, Values::kNormal, 3);
  const auto kernel = GetParam().make(weights);
  const auto walk = engine::KernelsOf<graph::FffLeaf>()[1].make(weights);
  ASSERT_EQ(walk->name(), "leaf_walk");
  const auto x = RandomRows(333, problem.input_width, Values::kNormal, 5);
  const Result batch = RunLeaf(*kernel, problem, x, 1);
  const Result alone = RunLeaf(*walk, problem, x, 1);
  EXPECT_EQ(alone.leaves, batch.leaves);
  EXPECT_TRUE(SameBits(alone.margins, batch.margins));
}

TEST_P(LeafParity, WorksWithoutARouteSink) {
  const LeafProblem problem = {40,  9, 24, 3, Tie::kLeft, Activation::kRelu,
                               true};
  const auto weights = RandomLeaf(problem, Values::kNormal, 3);
  const auto kernel = GetParam().make(weights);
  const auto x = RandomRows(70, 40, Values::kNormal, 5);
  const Result with = RunLeaf(*kernel, problem, x, 1);
  std::vector<float> y(with.y.size(), -1);
  engine::ExecutionContext context(1);
  kernel->Run({x.data(), 70, 40}, {y.data(), 70, 24}, {}, context);
  EXPECT_TRUE(SameBits(with.y, y));
}

TEST_P(LeafParity, TakesWeightsThatAreAlignedForFloatOnly) {
  const LeafProblem problem = {67,  21, 45, 4, Tie::kRight, Activation::kRelu,
                               true};
  const auto weights = RandomLeaf(problem, Values::kNormal, 9);
  auto shifted = std::make_shared<LeafWeights>(*weights);
  shifted->node_weights = Unaligned(weights->node_weights);
  shifted->node_biases = Unaligned(weights->node_biases);
  shifted->w1 = Unaligned(weights->w1);
  shifted->b1 = Unaligned(weights->b1);
  shifted->w2 = Unaligned(weights->w2);
  shifted->b2 = Unaligned(weights->b2);
  const auto x = RandomRows(77, problem.input_width, Values::kNormal, 5);
  const Result a = RunLeaf(*GetParam().make(weights), problem, x, 1);
  const Result b = RunLeaf(*GetParam().make(shifted), problem, x, 1);
  EXPECT_TRUE(SameBits(a.y, b.y));
  EXPECT_EQ(a.leaves, b.leaves);
}

TEST_P(LeafParity, NanGoesLeftAndStaysInItsRow) {
  const LeafProblem problem = {19,  5, 12, 5, Tie::kRight, Activation::kRelu,
                               true};
  const auto weights = RandomLeaf(problem, Values::kNormal, 13);
  const auto kernel = GetParam().make(weights);
  auto x = RandomRows(21, problem.input_width, Values::kNormal, 5);
  const Result clean = RunLeaf(*kernel, problem, x, 1);
  x[10 * 19 + 4] = std::numeric_limits<float>::quiet_NaN();
  const Result poisoned = RunLeaf(*kernel, problem, x, 1);
  EXPECT_EQ(poisoned.leaves[10], 0);
  for (size_t r = 0; r < 21; ++r) {
    if (r == 10) continue;
    EXPECT_EQ(poisoned.leaves[r], clean.leaves[r]);
    for (size_t o = r * 12; o < (r + 1) * 12; ++o) {
      EXPECT_FALSE(std::isnan(poisoned.y[o])) << "row " << r;
    }
  }
}

TEST_P(LeafParity, AgreesOnEveryInstructionSet) {
  for (const int64_t target : MachineTargets()) {
    const UseTarget use(target);
    for (const auto& c : LeafCases()) {
      if (c.problem.input_width > 130 || c.problem.depth > 10 ||
          !GetParam().supports(c.problem)) {
        continue;
      }
      SCOPED_TRACE(TargetName(target) + " " + c.problem.ToString());
      const auto weights = RandomLeaf(c.problem, c.values, 17);
      const auto kernel = GetParam().make(weights);
      const auto x = RandomRows(70, c.problem.input_width, c.values, 19);
      Tally tally;
      EXPECT_TRUE(CheckLeaf(*weights, x, RunLeaf(*kernel, c.problem, x, 1),
                            kCheckedRows, tally));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, LeafParity,
    testing::ValuesIn(CpuKernels(engine::KernelsOf<graph::FffLeaf>())),
    [](const testing::TestParamInfo<LeafKernelEntry>& entry) {
      return CaseName(std::string(entry.param.name));
    });

}  // namespace
}  // namespace fff::parity

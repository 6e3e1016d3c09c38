// Kernels on layers held in bf16 and int8, against the double-precision
// reference on exactly the weights that are stored.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/graph/reduced_weights.h"
#include "tests/parity/cases.h"
#include "tests/parity/grid.h"
#include "tests/parity/targets.h"

namespace fff::parity {
namespace {

using graph::Precision;

struct PathFamily {
  using Problem = graph::PathProblem;
  using Weights = graph::PathWeights;
  static constexpr auto Cases = PathCases;
  static constexpr auto Kernels = engine::KernelsOf<graph::FffPath>;
  static constexpr auto Draw = RandomPath;
  static constexpr auto Run = RunPath;
  static constexpr auto Check = CheckPath;
  // Path kernels add in one order, so two threads or batches give the same.
  static constexpr bool kSameBits = true;
};

struct LeafFamily {
  using Problem = graph::LeafProblem;
  using Weights = graph::LeafWeights;
  static constexpr auto Cases = LeafCases;
  static constexpr auto Kernels = engine::KernelsOf<graph::FffLeaf>;
  static constexpr auto Draw = RandomLeaf;
  static constexpr auto Run = RunLeaf;
  static constexpr auto Check = CheckLeaf;
  static constexpr bool kSameBits = false;
};

// The drawn layer in `precision`, with what the oracle reads beside.
template <class Family>
std::shared_ptr<const typename Family::Weights> DrawReduced(
    typename Family::Problem problem, Values values, uint64_t seed,
    Precision precision) {
  auto reduced = graph::Reduced(Family::Draw(problem, values, seed), precision);
  EXPECT_TRUE(reduced.ok()) << reduced.status();
  return graph::WithWidened(**reduced);
}

// Every kernel that computes the problem.
template <class Family>
auto KernelsFor(const typename Family::Weights& weights) {
  auto kernels = CpuKernels(Family::Kernels());
  kernels.erase(std::remove_if(kernels.begin(), kernels.end(),
                               [&](const auto& entry) {
                                 return !entry.supports(weights.problem);
                               }),
                kernels.end());
  EXPECT_FALSE(kernels.empty()) << weights.problem.ToString();
  return kernels;
}

// One kernel and batch; `tally` counts its rows.
template <class Family>
void CheckBatch(const engine::Kernel& kernel,
                const typename Family::Weights& weights,
                const std::vector<float>& x, Tally& tally) {
  const auto& problem = weights.problem;
  const Result one = Family::Run(kernel, problem, x, 1);
  EXPECT_TRUE(
      Family::Check(weights, x, one, kCheckedRows, tally, kFloatRoundoff));
  const Result again = Family::Run(kernel, problem, x, 1);
  EXPECT_TRUE(SameBits(one.y, again.y)) << "differs from run to run";
  const Result two = Family::Run(kernel, problem, x, 2);
  EXPECT_THAT(two.leaves, testing::ContainerEq(one.leaves));
  EXPECT_TRUE(SameBits(one.margins, two.margins));
  if (Family::kSameBits) {
    EXPECT_TRUE(SameBits(one.y, two.y));
  }
}

template <class Family>
void CheckGrid(Precision precision) {
  Tally normal;
  for (const auto& c : Family::Cases()) {
    const auto weights = DrawReduced<Family>(c.problem, c.values, 7, precision);
    for (const auto& entry : KernelsFor<Family>(*weights)) {
      const auto kernel = entry.make(weights);
      for (const int64_t rows : c.batches) {
        SCOPED_TRACE(absl::StrCat(entry.name, " ", weights->problem.ToString(),
                                  " ", Name(c.values), " rows ", rows));
        Tally other;
        CheckBatch<Family>(
            *kernel, *weights,
            RandomRows(rows, c.problem.input_width, c.values, 11),
            c.values == Values::kNormal ? normal : other);
      }
    }
  }
  EXPECT_GT(normal.rows, 1000);
  EXPECT_LE(normal.rerouted, normal.rows / 200);
}

// The instruction sets that a machine may have, on problems that take little.
template <class Family>
void CheckTargets(Precision precision) {
  for (const int64_t target : MachineTargets()) {
    const UseTarget use(target);
    for (const auto& c : Family::Cases()) {
      if (c.problem.input_width > 130 || c.problem.nodes() > 2047) continue;
      const auto weights =
          DrawReduced<Family>(c.problem, c.values, 17, precision);
      const auto x = RandomRows(70, c.problem.input_width, c.values, 19);
      for (const auto& entry : KernelsFor<Family>(*weights)) {
        SCOPED_TRACE(absl::StrCat(TargetName(target), " ", entry.name, " ",
                                  weights->problem.ToString()));
        Tally tally;
        EXPECT_TRUE(Family::Check(
            *weights, x,
            Family::Run(*entry.make(weights), weights->problem, x, 1),
            kCheckedRows, tally, kFloatRoundoff));
      }
    }
  }
}

class ReducedParity : public testing::TestWithParam<Precision> {};

TEST_P(ReducedParity, PathKernelsAgreeWithTheOracleOnEveryProblem) {
  CheckGrid<PathFamily>(GetParam());
}

TEST_P(ReducedParity, LeafKernelsAgreeWithTheOracleOnEveryProblem) {
  CheckGrid<LeafFamily>(GetParam());
}

TEST_P(ReducedParity, PathKernelsAgreeOnEveryInstructionSet) {
  CheckTargets<PathFamily>(GetParam());
}

TEST_P(ReducedParity, LeafKernelsAgreeOnEveryInstructionSet) {
  CheckTargets<LeafFamily>(GetParam());
}

TEST_P(ReducedParity, EveryPathKernelGivesTheSameBits) {
  const graph::PathProblem problem = {
      100, 70, 4, 6, graph::Tie::kLeft, graph::Activation::kGelu, true};
  const auto weights =
      DrawReduced<PathFamily>(problem, Values::kNormal, 3, GetParam());
  const auto x = RandomRows(333, problem.input_width, Values::kNormal, 5);
  const auto kernels = KernelsFor<PathFamily>(*weights);
  const Result first = RunPath(*kernels[0].make(weights), problem, x, 1);
  for (const auto& entry : kernels) {
    const Result other = RunPath(*entry.make(weights), problem, x, 1);
    EXPECT_TRUE(SameBits(first.y, other.y)) << entry.name;
    EXPECT_EQ(first.leaves, other.leaves) << entry.name;
    EXPECT_TRUE(SameBits(first.margins, other.margins)) << entry.name;
  }
}

TEST_P(ReducedParity, EveryLeafKernelTakesTheSameRoutes) {
  const graph::LeafProblem problem = {
      100, 20, 30, 8, graph::Tie::kRight, graph::Activation::kRelu, true};
  const auto weights =
      DrawReduced<LeafFamily>(problem, Values::kNormal, 3, GetParam());
  const auto x = RandomRows(333, problem.input_width, Values::kNormal, 5);
  const auto kernels = KernelsFor<LeafFamily>(*weights);
  const Result first = RunLeaf(*kernels[0].make(weights), problem, x, 1);
  for (const auto& entry : kernels) {
    const Result other = RunLeaf(*entry.make(weights), problem, x, 1);
    EXPECT_EQ(first.leaves, other.leaves) << entry.name;
    EXPECT_TRUE(SameBits(first.margins, other.margins)) << entry.name;
  }
}

TEST_P(ReducedParity, TheReferenceAndTheDenseKernelComputeFp32Alone) {
  for (const auto& entry : engine::KernelsOf<graph::FffPath>()) {
    graph::PathProblem problem = {8, 8, 3, 4};
    problem.precision = GetParam();
    EXPECT_EQ(entry.supports(problem),
              !entry.is_reference && !entry.traits.evaluates_beside_path)
        << entry.name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Precisions, ReducedParity,
    testing::Values(Precision::kBf16, Precision::kInt8),
    [](const testing::TestParamInfo<Precision>& precision) {
      return std::string(graph::Name(precision.param));
    });

}  // namespace
}  // namespace fff::parity

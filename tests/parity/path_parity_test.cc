#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/parity/cases.h"
#include "tests/parity/grid.h"
#include "tests/parity/targets.h"

namespace fff::parity {
namespace {

using engine::PathKernelEntry;
using graph::Activation;
using graph::PathProblem;
using graph::PathWeights;
using graph::Tie;

// The same layer without bias, its X such that x[width - 1 - i] = x[i] sums to
// nothing: w[width - 1 - i] = -w[i].
std::shared_ptr<const PathWeights> NearTies(
    const std::shared_ptr<const PathWeights>& drawn) {
  auto weights = std::make_shared<PathWeights>(*drawn);
  const int64_t width = weights->problem.input_width;
  tensor::FloatBuffer x(weights->x.size());
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t begin = i / width * width;
    const int64_t mirror = begin + (width - 1 - (i - begin));
    x.data()[i] = i <= mirror ? weights->x[i] : -weights->x[mirror];
  }
  weights->x = std::move(x).Freeze();
  weights->problem.has_bias = false;
  weights->bias = tensor::FloatArray();
  return weights;
}

std::vector<float> MirroredRows(int64_t rows, int64_t width, uint64_t seed) {
  auto x = RandomRows(rows, width, Values::kNormal, seed);
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = x.begin() + r * width;
    for (int64_t i = 0; i < width / 2; ++i) row[width - 1 - i] = row[i];
  }
  return x;
}

// The batch, or as many of its rows as a kernel that evaluates every node takes
// in 0.5 GFLOP: under AddressSanitizer those of 12 and 14 levels alone took 100
// s of the grid's 275.
int64_t RowsToTry(const PathKernelEntry& kernel, const PathProblem& problem,
                  int64_t rows) {
  if (!kernel.traits.evaluates_beside_path) return rows;
  constexpr int64_t kMaxFlops = 500'000'000;
  const int64_t per_row = 2 * problem.trees * problem.nodes() *
                          (problem.input_width + problem.output_width);
  return std::min(rows, kMaxFlops / per_row);
}

class PathParity : public testing::TestWithParam<PathKernelEntry> {};

TEST_P(PathParity, AgreesWithTheOracleOnEveryProblem) {
  Tally normal;
  for (const auto& c : PathCases()) {
    if (!GetParam().supports(c.problem)) continue;
    const auto weights = RandomPath(c.problem, c.values, 7);
    const auto kernel = GetParam().make(weights);
    for (const int64_t batch : c.batches) {
      const int64_t rows = RowsToTry(GetParam(), c.problem, batch);
      SCOPED_TRACE(c.problem.ToString() + " " + Name(c.values) + " rows " +
                   std::to_string(rows));
      const auto x = RandomRows(rows, c.problem.input_width, c.values, 11);
      Tally tally;
      const Result one = RunPath(*kernel, c.problem, x, 1);
      EXPECT_TRUE(CheckPath(*weights, x, one, kCheckedRows, tally));
      if (c.values == Values::kIntegers) {
        EXPECT_EQ(tally.rerouted, 0);
      }
      if (c.values == Values::kNormal) {
        normal.rows += tally.rows;
        normal.rerouted += tally.rerouted;
      }
      const Result again = RunPath(*kernel, c.problem, x, 1);
      EXPECT_TRUE(SameBits(one.y, again.y)) << "differs from run to run";
      const Result two = RunPath(*kernel, c.problem, x, 2);
      EXPECT_THAT(two.leaves, testing::ContainerEq(one.leaves));
      EXPECT_TRUE(SameBits(one.margins, two.margins));
      EXPECT_TRUE(SameBits(one.y, two.y)) << "two threads differ";
    }
  }
  EXPECT_GT(normal.rows, 500);
  EXPECT_LE(normal.rerouted, normal.rows / 200);
  RecordProperty("rows_compared", std::to_string(normal.rows));
  RecordProperty("rows_rerouted", std::to_string(normal.rerouted));
}

TEST_P(PathParity, ARowAloneAndInABatchIsTheSameBitForBit) {
  const PathProblem problem = {100, 70, 9, 2, Tie::kLeft, Activation::kGelu,
                               true};
  const auto weights = RandomPath(problem, Values::kNormal, 3);
  const auto kernel = GetParam().make(weights);
  const auto walk = engine::KernelsOf<graph::FffPath>()[1].make(weights);
  ASSERT_EQ(walk->name(), "path_walk");
  const int64_t rows = 333;
  const auto x = RandomRows(rows, problem.input_width, Values::kNormal, 5);
  const Result batch = RunPath(*kernel, problem, x, 1);
  for (int64_t r = 0; r < rows; r += 13) {
    const std::vector<float> row(x.begin() + r * problem.input_width,
                                 x.begin() + (r + 1) * problem.input_width);
    const Result alone = RunPath(*walk, problem, row, 1);
    const std::vector<float> y(
        batch.y.begin() + r * problem.output_width,
        batch.y.begin() + (r + 1) * problem.output_width);
    EXPECT_TRUE(SameBits(alone.y, y)) << "row " << r;
    EXPECT_EQ(alone.leaves[0], batch.leaves[static_cast<size_t>(2 * r)]);
    EXPECT_EQ(alone.leaves[1], batch.leaves[static_cast<size_t>(2 * r + 1)]);
  }
}

// Every z is a sum that cancels: the exact value is a few last places of the
// products or zero, so it has the sign that its order of summation gives it,
// and another order would take other ways.
TEST_P(PathParity, ZWithinRoundingOfZeroDecidesAsTheWalkDoesBitForBit) {
  const PathProblem problem = {210, 33, 3, 40, Tie::kRight, Activation::kGelu,
                               true};
  const auto weights = NearTies(RandomPath(problem, Values::kNormal, 21));
  const auto walk = engine::KernelsOf<graph::FffPath>()[1].make(weights);
  ASSERT_EQ(walk->name(), "path_walk");
  const auto kernel = GetParam().make(weights);
  const auto x = MirroredRows(150, problem.input_width, 23);
  const Result wanted = RunPath(*walk, problem, x, 1);
  int64_t near = 0;
  for (const float z : wanted.margins) near += std::abs(z) < 1e-5F ? 1 : 0;
  EXPECT_EQ(near, static_cast<int64_t>(wanted.margins.size()));
  for (const int threads : {1, 2}) {
    const Result got = RunPath(*kernel, problem, x, threads);
    EXPECT_THAT(got.leaves, testing::ContainerEq(wanted.leaves));
    EXPECT_TRUE(SameBits(got.margins, wanted.margins));
    EXPECT_TRUE(SameBits(got.y, wanted.y));
  }
}

TEST_P(PathParity, WorksWithoutARouteSink) {
  const PathProblem problem = {40,  24, 5, 1, Tie::kLeft, Activation::kGelu,
                               true};
  const auto weights = RandomPath(problem, Values::kNormal, 3);
  const auto kernel = GetParam().make(weights);
  const auto x = RandomRows(70, 40, Values::kNormal, 5);
  const Result with = RunPath(*kernel, problem, x, 1);
  std::vector<float> y(with.y.size(), -1);
  engine::ExecutionContext context(1);
  kernel->Run({x.data(), 70, 40}, {y.data(), 70, 24}, {}, context);
  EXPECT_TRUE(SameBits(with.y, y));
}

TEST_P(PathParity, TakesWeightsThatAreAlignedForFloatOnly) {
  const PathProblem problem = {67,  45, 6, 2, Tie::kRight, Activation::kGelu,
                               true};
  const auto weights = RandomPath(problem, Values::kNormal, 9);
  auto shifted = std::make_shared<PathWeights>(*weights);
  shifted->x = Unaligned(weights->x);
  shifted->bias = Unaligned(weights->bias);
  shifted->y = Unaligned(weights->y);
  const auto x = RandomRows(77, problem.input_width, Values::kNormal, 5);
  const Result a = RunPath(*GetParam().make(weights), problem, x, 1);
  const Result b = RunPath(*GetParam().make(shifted), problem, x, 1);
  EXPECT_TRUE(SameBits(a.y, b.y));
  EXPECT_EQ(a.leaves, b.leaves);
}

TEST_P(PathParity, NanGoesLeftAndStaysInItsRow) {
  const PathProblem problem = {19,  12, 5, 1, Tie::kRight, Activation::kRelu,
                               true};
  const auto weights = RandomPath(problem, Values::kNormal, 13);
  const auto kernel = GetParam().make(weights);
  auto x = RandomRows(21, problem.input_width, Values::kNormal, 5);
  const Result clean = RunPath(*kernel, problem, x, 1);
  x[10 * 19 + 4] = std::numeric_limits<float>::quiet_NaN();
  const Result poisoned = RunPath(*kernel, problem, x, 1);
  EXPECT_EQ(poisoned.leaves[10], 0);
  for (size_t r = 0; r < 21; ++r) {
    if (r == 10) continue;
    EXPECT_EQ(poisoned.leaves[r], clean.leaves[r]);
    for (size_t o = r * 12; o < (r + 1) * 12; ++o) {
      EXPECT_EQ(poisoned.y[o], clean.y[o]);
    }
  }
}

TEST_P(PathParity, AgreesOnEveryInstructionSet) {
  for (const int64_t target : MachineTargets()) {
    const UseTarget use(target);
    for (const auto& c : PathCases()) {
      if (c.problem.input_width > 130 || c.problem.levels > 11 ||
          !GetParam().supports(c.problem)) {
        continue;
      }
      SCOPED_TRACE(TargetName(target) + " " + c.problem.ToString());
      const auto weights = RandomPath(c.problem, c.values, 17);
      const auto kernel = GetParam().make(weights);
      const auto x = RandomRows(70, c.problem.input_width, c.values, 19);
      const Result result = RunPath(*kernel, c.problem, x, 1);
      Tally tally;
      EXPECT_TRUE(CheckPath(*weights, x, result, kCheckedRows, tally));
      const auto walk = engine::KernelsOf<graph::FffPath>()[1].make(weights);
      EXPECT_TRUE(
          SameBits(RunPath(*walk, c.problem, x, 1).margins, result.margins));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, PathParity,
    testing::ValuesIn(CpuKernels(engine::KernelsOf<graph::FffPath>())),
    [](const testing::TestParamInfo<PathKernelEntry>& entry) {
      return CaseName(std::string(entry.param.name));
    });

}  // namespace
}  // namespace fff::parity

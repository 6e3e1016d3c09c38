#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/parity/cases.h"
#include "tests/parity/grid.h"
#include "tests/parity/targets.h"

namespace fff::parity {
namespace {

using engine::DenseKernelEntry;
using graph::Activation;
using graph::DenseProblem;
using graph::DenseWeights;

class DenseParity : public testing::TestWithParam<DenseKernelEntry> {};

TEST_P(DenseParity, AgreesWithTheOracleOnEveryProblem) {
  for (const auto& c : DenseCases()) {
    if (!GetParam().supports(c.problem)) continue;
    const auto weights = RandomDense(c.problem, c.values, 7);
    const auto kernel = GetParam().make(weights);
    for (const int64_t rows : c.batches) {
      SCOPED_TRACE(c.problem.ToString() + " " + Name(c.values) + " rows " +
                   std::to_string(rows));
      const auto x = RandomRows(rows, c.problem.input_width, c.values, 11);
      Tally tally;
      const Result one = RunDense(*kernel, c.problem, x, 1);
      EXPECT_TRUE(CheckDense(*weights, x, one, kCheckedRows, tally));
      const Result again = RunDense(*kernel, c.problem, x, 1);
      EXPECT_TRUE(SameBits(one.y, again.y)) << "differs from run to run";
      const Result two = RunDense(*kernel, c.problem, x, 2);
      EXPECT_TRUE(CheckDense(*weights, x, two, kCheckedRows, tally));
    }
  }
}

// Over batch sizes with every kind of tile and rest, more than one block of
// terms, a last vector and a last panel that are not full.
TEST_P(DenseParity, ARowIsTheSameInEveryBatchWhereTheKernelSaysSo) {
  if (!GetParam().traits.same_in_every_batch) {
    GTEST_SKIP() << "its sums depend on the batch";
  }
  for (const DenseProblem& problem :
       {DenseProblem{700, 45, Activation::kGelu, true},
        DenseProblem{257, 150, Activation::kIdentity, false},
        DenseProblem{33, 4, Activation::kSigmoid, true}}) {
    SCOPED_TRACE(problem.ToString());
    const auto weights = RandomDense(problem, Values::kNormal, 9);
    const auto kernel = GetParam().make(weights);
    const auto x = RandomRows(150, problem.input_width, Values::kNormal, 5);
    const Result all = RunDense(*kernel, problem, x, 1);
    for (const int64_t rows : {1, 2, 3, 4, 5, 7, 8, 13, 48, 49, 101}) {
      const int64_t first = 150 - rows;
      const std::vector<float> part(x.begin() + first * problem.input_width,
                                    x.end());
      const std::vector<float> wanted(
          all.y.begin() + first * problem.output_width, all.y.end());
      for (const int threads : {1, 2}) {
        EXPECT_TRUE(
            SameBits(RunDense(*kernel, problem, part, threads).y, wanted))
            << rows << " rows, " << threads << " threads";
      }
    }
  }
}

TEST_P(DenseParity, TakesWeightsThatAreAlignedForFloatOnly) {
  const DenseProblem problem = {67, 45, Activation::kRelu, true};
  const auto weights = RandomDense(problem, Values::kNormal, 9);
  auto shifted = std::make_shared<DenseWeights>(*weights);
  shifted->w = Unaligned(weights->w);
  shifted->bias = Unaligned(weights->bias);
  const auto x = RandomRows(77, problem.input_width, Values::kNormal, 5);
  const Result a = RunDense(*GetParam().make(weights), problem, x, 1);
  const Result b = RunDense(*GetParam().make(shifted), problem, x, 1);
  EXPECT_TRUE(SameBits(a.y, b.y));
}

TEST_P(DenseParity, ServesManyThreadsAndEverySizeAtOnce) {
  const DenseProblem problem = {30, 20, Activation::kRelu, true};
  const auto weights = RandomDense(problem, Values::kNormal, 9);
  const auto kernel = GetParam().make(weights);
  std::vector<std::thread> threads;
  std::vector<testing::AssertionResult> results(4, testing::AssertionSuccess());
  for (size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int64_t rows = 1; rows < 130 && results[t]; rows += 7) {
        const auto x = RandomRows(rows, 30, Values::kNormal, t);
        Tally tally;
        results[t] = CheckDense(*weights, x, RunDense(*kernel, problem, x, 1),
                                kCheckedRows, tally);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_TRUE(result);
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, DenseParity,
    testing::ValuesIn(CpuKernels(engine::KernelsOf<graph::Linear>())),
    [](const testing::TestParamInfo<DenseKernelEntry>& entry) {
      return CaseName(std::string(entry.param.name));
    });

}  // namespace
}  // namespace fff::parity

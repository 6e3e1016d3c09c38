#include "tests/parity/check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/engine/reference/bounds.h"

namespace fff::parity {
namespace {

using engine::Bounded;
using engine::Route;
using testing::AssertionFailure;
using testing::AssertionResult;
using testing::AssertionSuccess;

constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

Result Run(const engine::Kernel& kernel, int64_t in, int64_t out, int64_t trees,
           int decisions, const std::vector<float>& x, int threads) {
  const int64_t rows = static_cast<int64_t>(x.size()) / in;
  const auto n = static_cast<size_t>(rows);
  Result result;
  result.y.assign(n * static_cast<size_t>(out), kPoison);
  result.leaves.assign(n * static_cast<size_t>(trees), -1);
  result.margins.assign(result.leaves.size() * static_cast<size_t>(decisions),
                        kPoison);
  engine::RouteSink sink;
  if (trees > 0) sink = {result.leaves.data(), result.margins.data()};
  engine::ExecutionContext context(threads);
  kernel.Run({x.data(), rows, in}, {result.y.data(), rows, out}, sink, context);
  return result;
}

bool Inside(double got, const Bounded& want, double roundoff = kFloatRoundoff) {
  if (std::isnan(want.value)) return std::isnan(got);
  if (want.bound == HUGE_VAL) return true;
  if (std::abs(want.value) + want.bound > std::numeric_limits<float>::max()) {
    return true;
  }
  // The result itself was rounded once.
  const double rounding =
      (std::abs(want.value) + want.bound) * roundoff + 0x1p-149;
  return std::abs(got - want.value) <= want.bound + rounding;
}

std::string Describe(int64_t row, absl::string_view what, double got,
                     const Bounded& want) {
  return absl::StrCat("row ", row, ": ", what, " is ", got, ", wanted ",
                      want.value, " +- ", want.bound);
}

// Decisions and margins of one route as the kernel reported it.
AssertionResult CheckRoute(int64_t row, graph::Tie tie, const Route& route,
                           int32_t leaf, int steps, const float* margins) {
  if (leaf < 0 || leaf >= (int32_t{1} << steps)) {
    return AssertionFailure() << "row " << row << ": leaf " << leaf;
  }
  for (int level = 0; level < static_cast<int>(route.z.size()); ++level) {
    const Bounded& z = route.z[static_cast<size_t>(level)];
    if (!Inside(margins[level], z)) {
      return AssertionFailure() << Describe(
                 row, absl::StrCat("z at level ", level), margins[level], z);
    }
    if (level >= steps) break;
    const bool went_right = ((leaf >> (steps - 1 - level)) & 1) != 0;
    if (engine::GoesRight(tie, margins[level]) != went_right) {
      return AssertionFailure() << "row " << row << ": level " << level
                                << " went against its own z " << margins[level];
    }
    const bool sure = !std::isfinite(z.value) || std::abs(z.value) > z.bound;
    if (sure && engine::GoesRight(tie, z.value) != went_right) {
      return AssertionFailure() << Describe(
                 row, absl::StrCat("wrong turn at level ", level, ", z"),
                 margins[level], z);
    }
  }
  return AssertionSuccess();
}

AssertionResult CheckOutputs(int64_t row, const float* y,
                             const std::vector<Bounded>& wanted,
                             double roundoff) {
  for (size_t o = 0; o < wanted.size(); ++o) {
    if (!Inside(y[o], wanted[o], roundoff)) {
      return AssertionFailure()
             << Describe(row, absl::StrCat("output ", o), y[o], wanted[o]);
    }
  }
  return AssertionSuccess();
}

int64_t Stride(int64_t rows, int64_t rows_max) {
  return std::max<int64_t>(1, rows / rows_max);
}

}  // namespace

Result RunPath(const engine::Kernel& kernel, const graph::PathProblem& problem,
               const std::vector<float>& x, int threads) {
  return Run(kernel, problem.input_width, problem.output_width, problem.trees,
             problem.levels, x, threads);
}

Result RunLeaf(const engine::Kernel& kernel, const graph::LeafProblem& problem,
               const std::vector<float>& x, int threads) {
  return Run(kernel, problem.input_width, problem.output_width, 1,
             problem.depth, x, threads);
}

Result RunDense(const engine::Kernel& kernel,
                const graph::DenseProblem& problem, const std::vector<float>& x,
                int threads) {
  return Run(kernel, problem.input_width, problem.output_width, 0, 0, x,
             threads);
}

AssertionResult CheckPath(const graph::PathWeights& weights,
                          const std::vector<float>& x, const Result& result,
                          int64_t rows_max, Tally& tally, double roundoff) {
  const graph::PathProblem& p = weights.problem;
  const int64_t rows = static_cast<int64_t>(x.size()) / p.input_width;
  for (int64_t r = 0; r < rows; r += Stride(rows, rows_max)) {
    const float* row = x.data() + r * p.input_width;
    const int32_t* leaves = result.leaves.data() + r * p.trees;
    bool rerouted = false;
    for (int64_t tree = 0; tree < p.trees; ++tree) {
      const AssertionResult route = CheckRoute(
          r, p.tie, engine::PathRouteTo(weights, row, tree, leaves[tree]),
          leaves[tree], p.levels - 1,
          result.margins.data() + (r * p.trees + tree) * p.levels);
      if (!route) return route;
      rerouted |=
          leaves[tree] != engine::ExactPathRoute(weights, row, tree).leaf;
    }
    tally.rows += 1;
    tally.rerouted += rerouted ? 1 : 0;
    const AssertionResult outputs =
        CheckOutputs(r, result.y.data() + r * p.output_width,
                     engine::PathOutputs(
                         weights, row, {leaves, static_cast<size_t>(p.trees)}),
                     roundoff);
    if (!outputs) return outputs;
  }
  return AssertionSuccess();
}

AssertionResult CheckLeaf(const graph::LeafWeights& weights,
                          const std::vector<float>& x, const Result& result,
                          int64_t rows_max, Tally& tally, double roundoff) {
  const graph::LeafProblem& p = weights.problem;
  const int64_t rows = static_cast<int64_t>(x.size()) / p.input_width;
  for (int64_t r = 0; r < rows; r += Stride(rows, rows_max)) {
    const float* row = x.data() + r * p.input_width;
    const int32_t leaf = result.leaves[static_cast<size_t>(r)];
    const AssertionResult route =
        CheckRoute(r, p.tie, engine::LeafRouteTo(weights, row, leaf), leaf,
                   p.depth, result.margins.data() + r * p.depth);
    if (!route) return route;
    tally.rows += 1;
    tally.rerouted += leaf != engine::ExactLeafRoute(weights, row).leaf ? 1 : 0;
    const AssertionResult outputs =
        CheckOutputs(r, result.y.data() + r * p.output_width,
                     engine::LeafOutputs(weights, row, leaf), roundoff);
    if (!outputs) return outputs;
  }
  return AssertionSuccess();
}

AssertionResult CheckDense(const graph::DenseWeights& weights,
                           const std::vector<float>& x, const Result& result,
                           int64_t rows_max, Tally& tally, double roundoff) {
  const graph::DenseProblem& p = weights.problem;
  const int64_t rows = static_cast<int64_t>(x.size()) / p.input_width;
  for (int64_t r = 0; r < rows; r += Stride(rows, rows_max)) {
    tally.rows += 1;
    const AssertionResult outputs = CheckOutputs(
        r, result.y.data() + r * p.output_width,
        engine::DenseOutputs(weights, x.data() + r * p.input_width), roundoff);
    if (!outputs) return outputs;
  }
  return AssertionSuccess();
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() ||
          std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace fff::parity

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel.h"
#include "server/graph/weights.h"

// Runs a kernel on a batch and holds every row against the double-precision
// oracle. Each decision is right unless |z| is inside its rounding bound, each
// output inside its computed tolerance along the route that was taken.
namespace fff::parity {

struct Tally {
  int64_t rows = 0;
  // Rows whose route differs from the exact one (inside the bound, else the
  // check fails).
  int64_t rerouted = 0;
};

// One run. Outputs and sinks were NaN, -1 and NaN before it.
struct Result {
  std::vector<float> y;
  std::vector<int32_t> leaves;
  std::vector<float> margins;
};

Result RunPath(const engine::Kernel& kernel, const graph::PathProblem& problem,
               const std::vector<float>& x, int threads);
Result RunLeaf(const engine::Kernel& kernel, const graph::LeafProblem& problem,
               const std::vector<float>& x, int threads);
Result RunDense(const engine::Kernel& kernel,
                const graph::DenseProblem& problem, const std::vector<float>& x,
                int threads);

// What writing an output as a float adds, relative to it; bf16: 2^-8.
inline constexpr double kFloatRoundoff = 0x1p-24;

// Compare at most about `rows_max` rows, evenly spread; tally counts them.
testing::AssertionResult CheckPath(const graph::PathWeights& weights,
                                   const std::vector<float>& x,
                                   const Result& result, int64_t rows_max,
                                   Tally& tally,
                                   double roundoff = kFloatRoundoff);
testing::AssertionResult CheckLeaf(const graph::LeafWeights& weights,
                                   const std::vector<float>& x,
                                   const Result& result, int64_t rows_max,
                                   Tally& tally,
                                   double roundoff = kFloatRoundoff);
testing::AssertionResult CheckDense(const graph::DenseWeights& weights,
                                    const std::vector<float>& x,
                                    const Result& result, int64_t rows_max,
                                    Tally& tally,
                                    double roundoff = kFloatRoundoff);

// Bit for bit, so that NaN equals NaN.
bool SameBits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace fff::parity

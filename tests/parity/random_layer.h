#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/graph/weights.h"

// Random layers and inputs for parity tests. Same seed, same numbers.
namespace fff::parity {

// How weights and inputs are drawn.
enum class Values {
  kNormal,    // N(0, 1), weights scaled by 1/sqrt(width)
  kIntegers,  // small whole numbers: every z is exact and often exactly 0
  kDenormal,  // around 1e-39: products underflow
  kHuge,      // around 1e18: z near and above the float range
  kOnePath,   // all rows equal: one leaf takes the whole batch
  kSkewed,    // two rows in three are equal
  kPoisoned,  // every third row holds NaN, infinity, or both infinities
};
std::string Name(Values values);

tensor::FloatArray RandomArray(int64_t size, Values values, double scale,
                               std::mt19937_64& random);

std::shared_ptr<const graph::PathWeights> RandomPath(
    const graph::PathProblem& problem, Values values, uint64_t seed);
std::shared_ptr<const graph::LeafWeights> RandomLeaf(
    const graph::LeafProblem& problem, Values values, uint64_t seed);
std::shared_ptr<const graph::DenseWeights> RandomDense(
    const graph::DenseProblem& problem, Values values, uint64_t seed);

// [rows, width].
std::vector<float> RandomRows(int64_t rows, int64_t width, Values values,
                              uint64_t seed);

// The array at an address that is aligned for float and for nothing more.
tensor::FloatArray Unaligned(const tensor::FloatArray& array);

}  // namespace fff::parity

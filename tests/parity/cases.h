#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/problem.h"
#include "tests/parity/random_layer.h"

// The problems, kinds of numbers and batch sizes that every kernel is held
// against the oracle on, whatever it runs on.
namespace fff::parity {

template <class Problem>
struct Case {
  Problem problem;
  Values values;
  std::vector<int64_t> batches;
};

absl::Span<const Case<engine::PathProblem>> PathCases();
absl::Span<const Case<engine::LeafProblem>> LeafCases();
absl::Span<const Case<engine::DenseProblem>> DenseCases();

}  // namespace fff::parity

#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/graph/problem.h"
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

absl::Span<const Case<graph::PathProblem>> PathCases();
absl::Span<const Case<graph::LeafProblem>> LeafCases();
absl::Span<const Case<graph::DenseProblem>> DenseCases();

}  // namespace fff::parity

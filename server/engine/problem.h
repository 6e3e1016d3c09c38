#pragma once

#include "server/graph/problem.h"

// The vocabulary of graph/problem.h under the names that kernels use.
namespace fff::engine {

using graph::Activation;
using graph::BytesAWeight;
using graph::DenseProblem;
using graph::kLevelsMax;
using graph::kTreesMax;
using graph::kWidthMax;
using graph::LeafProblem;
using graph::Name;
using graph::PathProblem;
using graph::Precision;
using graph::PrecisionText;
using graph::Tie;

}  // namespace fff::engine

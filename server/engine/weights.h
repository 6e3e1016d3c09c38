#pragma once

#include "server/engine/problem.h"
#include "server/graph/weights.h"

// The vocabulary of graph/weights.h under the names that kernels use.
namespace fff::engine {

using graph::Bf16;
using graph::DenseWeights;
using graph::LeafWeights;
using graph::PathWeights;
using graph::ReducedMatrix;
using graph::ToBf16;
using graph::ToFloat;

}  // namespace fff::engine

#pragma once

#include "server/graph/network.h"
#include "server/graph/problem.h"

// The vocabulary of graph/problem.h under the names that kernels use.
namespace fff::engine {

using graph::Activation;
using graph::ActivationProblem;
using graph::AddProblem;
using graph::AttentionProblem;
using graph::BlendProblem;
using graph::BytesAWeight;
using graph::Conv2dProblem;
using graph::DenseProblem;
using graph::EmbeddingProblem;
using graph::GateProblem;
using graph::kLevelsMax;
using graph::kTreesMax;
using graph::kWidthMax;
using graph::LayerNormProblem;
using graph::LeafProblem;
using graph::Name;
using graph::Pair;
using graph::PathProblem;
using graph::Picture;
using graph::Pool2dProblem;
using graph::PoolTokensProblem;
using graph::PositionsProblem;
using graph::Precision;
using graph::PrecisionText;
using graph::RearrangeProblem;
using graph::ScaleProblem;
using graph::SoftmaxProblem;
using graph::Tie;

}  // namespace fff::engine

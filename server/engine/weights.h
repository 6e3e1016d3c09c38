#pragma once

#include "server/engine/problem.h"
#include "server/graph/weights.h"

// The vocabulary of graph/weights.h under the names that kernels use.
namespace fff::engine {

using graph::ActivationWeights;
using graph::AddWeights;
using graph::AttentionWeights;
using graph::Bf16;
using graph::BlendWeights;
using graph::Conv2dWeights;
using graph::DenseWeights;
using graph::EmbeddingWeights;
using graph::GateWeights;
using graph::LayerNormWeights;
using graph::LeafWeights;
using graph::PathWeights;
using graph::Pool2dWeights;
using graph::PoolTokensWeights;
using graph::PositionsWeights;
using graph::RearrangeWeights;
using graph::ReducedMatrix;
using graph::ScaleWeights;
using graph::SoftmaxWeights;
using graph::ToBf16;
using graph::ToFloat;

}  // namespace fff::engine

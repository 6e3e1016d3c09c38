#pragma once

#include <memory>
#include <utility>

#include "gtest/gtest.h"
#include "server/graph/graph.h"
#include "server/tensor/random.h"

// Ops with random weights, for tests of graphs.
namespace fff::graph::test {

inline Op RandomLinear(int64_t in, int64_t out,
                       Activation activation = Activation::kIdentity) {
  auto weights = std::make_shared<DenseWeights>();
  weights->problem = {in, out, activation, true};
  weights->w = tensor::RandomNormal(in * out, 1);
  weights->bias = tensor::RandomNormal(out, 2);
  return Linear{{std::move(weights)}};
}

inline Op RandomPath(int64_t in, int64_t out, int levels, int64_t trees = 1) {
  auto weights = std::make_shared<PathWeights>();
  PathProblem& problem = weights->problem;
  problem.input_width = in;
  problem.output_width = out;
  problem.levels = levels;
  problem.trees = trees;
  problem.activation = Activation::kGelu;
  const int64_t nodes = trees * problem.nodes();
  weights->x = tensor::RandomNormal(nodes * in, 3);
  weights->y = tensor::RandomNormal(nodes * out, 4);
  return FffPath{{std::move(weights)}, {}};
}

inline Op RandomLeaf(int64_t in, int64_t out, int depth) {
  auto weights = std::make_shared<LeafWeights>();
  LeafProblem& problem = weights->problem;
  problem.input_width = in;
  problem.leaf_width = 3;
  problem.output_width = out;
  problem.depth = depth;
  const int64_t neurons = problem.leaves() * problem.leaf_width;
  weights->node_weights = tensor::RandomNormal(problem.nodes() * in, 5);
  weights->node_biases = tensor::RandomNormal(problem.nodes(), 6);
  weights->w1 = tensor::RandomNormal(neurons * in, 7);
  weights->b1 = tensor::RandomNormal(neurons, 8);
  weights->w2 = tensor::RandomNormal(neurons * out, 9);
  weights->b2 = tensor::RandomNormal(problem.leaves() * out, 10);
  return FffLeaf{{std::move(weights)}};
}

inline Op Relu(int64_t width) {
  return Activate{{std::make_shared<const ActivationWeights>(
      ActivationWeights{{width, width, Activation::kRelu}})}};
}

inline Op HalfBlend(int64_t width, float share = 0.5F) {
  return Blend{{std::make_shared<const BlendWeights>(
      BlendWeights{{width, width, share}})}};
}

inline Port PortOf(const char* name, int64_t width) {
  return {name, tensor::DataType::kF32, {width}, {}};
}

// A graph of one input and one output that `add` fills.
template <class Add>
Graph Made(int64_t in, const Add& add) {
  GraphBuilder builder;
  const ValueId x = builder.AddInput(PortOf("x", in));
  builder.BeginLayer({"test", "", "", "", in, 0});
  const auto y = add(builder, x);
  EXPECT_TRUE(y.ok()) << y.status();
  EXPECT_TRUE(builder.AddOutput({}, *y).ok());
  return std::move(builder).Build();
}

// The ops in sequence, a layer each.
inline Graph Chain(int64_t in, std::vector<Op> ops) {
  GraphBuilder builder;
  ValueId value = builder.AddInput(PortOf("x", in));
  for (Op& op : ops) {
    builder.BeginLayer({std::string(NameOf(op)), "", "", "", 0, 0});
    const auto next = builder.Add(std::move(op), value);
    EXPECT_TRUE(next.ok()) << next.status();
    value = *next;
  }
  EXPECT_TRUE(builder.AddOutput({}, value).ok());
  return std::move(builder).Build();
}

// share * leaf(x) + (1 - share) * output(relu(hidden(x))).
inline Graph MasterLeaf(int64_t in, int64_t out, int depth, float share) {
  return Made(
      in, [&](GraphBuilder& builder, ValueId x) -> absl::StatusOr<ValueId> {
        const ValueId leaf = *builder.Add(RandomLeaf(in, out, depth), x);
        const ValueId master = *builder.AddChain(
            {RandomLinear(in, 8, Activation::kRelu), RandomLinear(8, out)}, x);
        return builder.Add(HalfBlend(out, share), {leaf, master});
      });
}

}  // namespace fff::graph::test

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

inline Op Embed(int64_t count, int64_t width) {
  auto weights = std::make_shared<EmbeddingWeights>();
  weights->problem = {1, width, count};
  weights->table = tensor::RandomNormal(count * width, 11);
  return Embedding{{std::move(weights)}};
}

inline Op AddPositions(int64_t count, int64_t width) {
  auto weights = std::make_shared<PositionsWeights>();
  weights->problem = {width, width, count};
  weights->table = tensor::RandomNormal(count * width, 12);
  return Positions{{std::move(weights)}};
}

// tokens: 0: sequences of any length.
inline Op Attend(int64_t tokens, int64_t heads, int64_t head_width,
                 bool masked) {
  auto weights = std::make_shared<AttentionWeights>();
  AttentionProblem& problem = weights->problem;
  problem.tokens = tokens;
  problem.heads = heads;
  problem.head_width = head_width;
  problem.output_width = (tokens == 0 ? 1 : tokens) * problem.width();
  problem.input_width = 3 * problem.output_width;
  problem.masked = masked;
  problem.mask_value = -10000;
  return Attention{{std::move(weights)}};
}

inline Op Pool(int64_t tokens, int64_t width, bool masked) {
  auto weights = std::make_shared<PoolTokensWeights>();
  PoolTokensProblem& problem = weights->problem;
  problem.input_width = (tokens == 0 ? 1 : tokens) * width;
  problem.output_width = width;
  problem.tokens = tokens;
  problem.masked = masked;
  return PoolTokens{{std::move(weights)}};
}

// Numbers, one per token of sequences of any length, or `shape` per row.
inline Port Ids(const char* name, absl::Span<const int64_t> shape = {}) {
  Port port;
  port.name = name;
  port.data_type = tensor::DataType::kI64;
  port.sequence = shape.empty();
  port.shape.assign(shape.begin(), shape.end());
  return port;
}

inline Port Mask(const char* name, absl::Span<const int64_t> shape = {}) {
  Port port = Ids(name, shape);
  port.role = Port::Role::kMask;
  port.optional = true;
  return port;
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

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "server/engine/device_engine.h"
#include "server/engine/kernel_list.h"
#include "server/engine/weights.h"

// Layers of small integers, whose sums are exact in every order and in bf16.
namespace fff::engine {

inline tensor::FloatArray Integers(int64_t size, int64_t seed) {
  tensor::FloatBuffer values(size);
  for (int64_t i = 0; i < size; ++i) {
    values.data()[i] = static_cast<float>((i * 7 + seed * 5 + i / 11) % 5 - 2);
  }
  return std::move(values).Freeze();
}

inline std::shared_ptr<const PathWeights> IntegerPath(int64_t in, int64_t out,
                                                      int levels,
                                                      int64_t trees = 1) {
  auto weights = std::make_shared<PathWeights>();
  PathProblem& p = weights->problem;
  p = {in, out, levels, trees, Tie::kRight, Activation::kRelu, true};
  weights->x = Integers(trees * p.nodes() * in, 1);
  weights->bias = Integers(trees * p.nodes(), 2);
  weights->y = Integers(trees * p.nodes() * out, 3);
  return weights;
}

inline std::shared_ptr<const LeafWeights> IntegerLeaf(int64_t in,
                                                      int64_t leaf_width,
                                                      int64_t out, int depth) {
  auto weights = std::make_shared<LeafWeights>();
  LeafProblem& p = weights->problem;
  p = {in, leaf_width, out, depth, Tie::kLeft, Activation::kRelu, true};
  weights->node_weights = Integers(p.nodes() * in, 1);
  weights->node_biases = Integers(p.nodes(), 2);
  weights->w1 = Integers(p.leaves() * in * leaf_width, 3);
  weights->b1 = Integers(p.leaves() * leaf_width, 4);
  weights->w2 = Integers(p.leaves() * leaf_width * out, 5);
  weights->b2 = Integers(p.leaves() * out, 6);
  return weights;
}

inline std::shared_ptr<const DenseWeights> IntegerDense(
    int64_t in, int64_t out, Activation activation = Activation::kIdentity) {
  auto weights = std::make_shared<DenseWeights>();
  weights->problem = {in, out, activation, true};
  weights->w = Integers(in * out, 1);
  weights->bias = Integers(out, 2);
  return weights;
}

// What a layer makes of rows.
struct Answers {
  std::vector<float> y;
  std::vector<int32_t> leaves;
  std::vector<float> margins;
};

// `paths` and `decisions`: per row, and per path.
inline Answers RoomFor(int64_t rows, int64_t width, int64_t paths,
                       int64_t decisions) {
  Answers room;
  room.y.assign(static_cast<size_t>(rows * width), -77.0F);
  room.leaves.assign(static_cast<size_t>(rows * paths), -77);
  room.margins.assign(static_cast<size_t>(rows * paths * decisions), -77.0F);
  return room;
}

inline Answers Run(const Kernel& kernel, const tensor::FloatArray& x,
                   int64_t in, Answers room) {
  const int64_t rows = x.size() / in;
  const auto out = static_cast<int64_t>(room.y.size()) / rows;
  ExecutionContext context(1);
  kernel.Run({x.data(), rows, in}, {room.y.data(), rows, out},
             {room.leaves.data(), room.margins.data()}, context);
  return room;
}

// By the double-precision oracle of the CPU.
inline Answers Expected(const std::shared_ptr<const PathWeights>& weights,
                        const tensor::FloatArray& x) {
  const PathProblem& p = weights->problem;
  return Run(
      *KernelsOf<graph::FffPath>()[0].make(weights), x, p.input_width,
      RoomFor(x.size() / p.input_width, p.output_width, p.trees, p.levels));
}
inline Answers Expected(const std::shared_ptr<const LeafWeights>& weights,
                        const tensor::FloatArray& x) {
  const LeafProblem& p = weights->problem;
  return Run(*KernelsOf<graph::FffLeaf>()[0].make(weights), x, p.input_width,
             RoomFor(x.size() / p.input_width, p.output_width, 1, p.depth));
}

}  // namespace fff::engine

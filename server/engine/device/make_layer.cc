#include "server/engine/device/make_layer.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/device/family_layer.h"

namespace fff::engine {
namespace {

using LayerPtr = std::unique_ptr<DeviceLayer>;

void SetWidths(int64_t input, int64_t output, LayerShape& shape) {
  shape.input_width = input;
  shape.output_width = output;
  shape.x_pitch = static_cast<int>(PitchOf(input));
  shape.y_pitch = static_cast<int>(PitchOf(output));
}

// What PathShape and LeafShape, and their arguments, share.
template <class Problem, class Shape>
void SetTree(const Problem& problem, Shape& shape) {
  SetWidths(problem.input_width, problem.output_width, shape);
  shape.args.x_pitch = shape.x_pitch;
  shape.args.y_pitch = shape.y_pitch;
  shape.args.output_width = static_cast<int>(problem.output_width);
  shape.args.tie_left = problem.tie == Tie::kLeft;
  shape.args.activation = problem.activation;
}

struct PathFamily {
  using Shape = PathShape;
  using Weights = PathWeights;
  static auto Kernels(const KernelTable& table) { return table.path; }
  static Shape ShapeOf(const Weights& weights) {
    const PathProblem& problem = weights.problem;
    Shape shape;
    SetTree(problem, shape);
    shape.trees = static_cast<int>(problem.trees);
    shape.decisions = problem.levels;
    shape.args.trees = shape.trees;
    shape.args.levels = problem.levels;
    return shape;
  }
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    const PathProblem& p = weights.problem;
    const int64_t nodes = p.trees * p.nodes();
    shape.args.x_weights = to.Matrix(weights.x, nodes, p.input_width);
    shape.args.y_weights = to.Matrix(weights.y, nodes, p.output_width);
    if (p.has_bias) shape.args.bias = to.Floats(weights.bias, nodes);
  }
};

struct LeafFamily {
  using Shape = LeafShape;
  using Weights = LeafWeights;
  static auto Kernels(const KernelTable& table) { return table.leaf; }
  static Shape ShapeOf(const Weights& weights) {
    const LeafProblem& problem = weights.problem;
    Shape shape;
    SetTree(problem, shape);
    shape.trees = 1;
    shape.decisions = problem.depth;
    shape.args.leaf_width = static_cast<int>(problem.leaf_width);
    shape.args.depth = problem.depth;
    return shape;
  }
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    const LeafProblem& p = weights.problem;
    const int64_t in = p.input_width;
    const int64_t hidden = p.leaf_width;
    const int64_t neurons = p.leaves() * hidden;
    LeafArgs& args = shape.args;
    args.node_weights = to.Matrix(weights.node_weights, p.nodes(), in);
    // Transposed: a row per hidden neuron.
    args.w1 = to.Matrix({neurons, in,
                         [&](int64_t row) {
                           return weights.w1.data() +
                                  row / hidden * in * hidden + row % hidden;
                         },
                         hidden});
    args.w2 = to.Matrix(weights.w2, neurons, p.output_width);
    args.node_biases = to.Floats(weights.node_biases, p.nodes());
    args.b1 = to.Floats(weights.b1, neurons);
    if (p.has_output_bias) {
      args.b2 = to.Floats(weights.b2, p.leaves(), p.output_width);
    }
  }
};

struct DenseFamily {
  using Shape = DenseShape;
  using Weights = DenseWeights;
  static auto Kernels(const KernelTable& table) { return table.dense; }
  static Shape ShapeOf(const Weights& weights) {
    const DenseProblem& problem = weights.problem;
    Shape shape;
    SetWidths(problem.input_width, problem.output_width, shape);
    shape.problem = problem;
    return shape;
  }
  // Rows of zeros below the last, so that the padding of y is zero.
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    const DenseProblem& p = weights.problem;
    const std::vector<float> zeros(static_cast<size_t>(p.input_width), 0.0F);
    shape.w = to.Matrix({shape.y_pitch, p.input_width, [&](int64_t row) {
                           return row < p.output_width
                                      ? weights.w.data() + row * p.input_width
                                      : zeros.data();
                         }});
    if (p.has_bias) shape.bias = to.Matrix(weights.bias, 1, p.output_width);
  }
};

// Activation, layer norm and blend. The weights are those of a layer norm.
struct RowsFamily {
  using Shape = RowsShape;
  using Weights = graph::LayerNormWeights;
  static auto Kernels(const KernelTable& table) { return table.rows; }
  template <class Problem>
  static Shape ShapeOf(RowOp op, const Problem& problem) {
    Shape shape;
    SetWidths(problem.input_width, problem.output_width, shape);
    shape.op = op;
    return shape;
  }
  static void Upload(const Weights& weights, Uploader& to, Shape& shape) {
    if (shape.op != RowOp::kLayerNorm) return;
    shape.norm.epsilon = static_cast<float>(weights.problem.epsilon);
    shape.norm.centred = weights.problem.centred;
    shape.norm.weight = to.Floats(weights.weight, 1, shape.output_width);
    if (!weights.problem.has_bias) return;
    shape.norm.bias = to.Floats(weights.bias, 1, shape.output_width);
  }
};

template <class Family>
LayerPtr MakeFamilyLayer(
    typename Family::Shape shape,
    std::shared_ptr<const typename Family::Weights> weights, Device& device) {
  return std::make_unique<FamilyLayer<Family>>(std::move(shape),
                                               std::move(weights), device);
}

struct MakeLayerOf {
  Device& device;

  LayerPtr operator()(const graph::FffPath& op) const {
    return MakeFamilyLayer<PathFamily>(PathFamily::ShapeOf(*op.weights),
                                       op.weights, device);
  }
  LayerPtr operator()(const graph::FffLeaf& op) const {
    return MakeFamilyLayer<LeafFamily>(LeafFamily::ShapeOf(*op.weights),
                                       op.weights, device);
  }
  LayerPtr operator()(const graph::Linear& op) const {
    return MakeFamilyLayer<DenseFamily>(DenseFamily::ShapeOf(*op.weights),
                                        op.weights, device);
  }
  LayerPtr operator()(const graph::Activate& op) const {
    RowsShape shape = RowsFamily::ShapeOf(RowOp::kActivate, op.problem());
    shape.activation = op.problem().activation;
    return MakeRows(shape, std::make_shared<const graph::LayerNormWeights>());
  }
  LayerPtr operator()(const graph::LayerNorm& op) const {
    return MakeRows(RowsFamily::ShapeOf(RowOp::kLayerNorm, op.problem()),
                    op.weights);
  }
  LayerPtr operator()(const graph::Blend& op) const {
    RowsShape shape = RowsFamily::ShapeOf(RowOp::kBlend, op.problem());
    shape.share = op.problem().share;
    return MakeRows(shape, std::make_shared<const graph::LayerNormWeights>());
  }

  template <class Op>
  std::enable_if_t<!Op::kOnDevices, LayerPtr> operator()(const Op&) const {
    return nullptr;
  }

 private:
  LayerPtr MakeRows(const RowsShape& shape,
                    std::shared_ptr<const graph::LayerNormWeights> norm) const {
    return MakeFamilyLayer<RowsFamily>(shape, std::move(norm), device);
  }
};

}  // namespace

LayerPtr MakeLayer(const graph::Op& op, Device& device) {
  return graph::Visit(op, MakeLayerOf{device});
}

}  // namespace fff::engine

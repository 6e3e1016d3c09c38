#include "server/importer/fff_tensors.h"

#include <cmath>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/importer/layouts/fff_ops.h"
#include "server/tensor/matrix.h"

namespace fff::importer {
namespace {

absl::Status CheckDepth(const TensorShapes& tensors, int depth,
                        TensorReader& reader) {
  if (tensors.Find("depth") == nullptr) return absl::OkStatus();
  const std::string name = tensors.FullName("depth");
  FFF_ASSIGN_OR_RETURN(const int64_t stored, reader.Integer(name));
  if (stored == depth) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor \"", name, "\": found ", stored,
                   ", but the tensors' shapes are those of depth ", depth));
}

// A linear pair saved without bias is another public code (fast-ffn), whose tie
// rule differs: it is served under this name when config.json says which tie is
// meant.
absl::Status CheckPathBias(const LayerConfig& config,
                           const Convention& convention,
                           const graph::PathProblem& problem,
                           const std::string& prefix) {
  const absl::string_view bias = convention.layout->bias;
  if (bias.empty() || problem.has_bias || config.tie.has_value()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor \"", prefix, bias, "\" is missing; convention \"",
      convention.name,
      "\" has it; to serve a layer without it set \"tie\" to say where z = 0 "
      "goes"));
}

absl::Status ReadLeafTensors(const TensorShapes& tensors,
                             graph::LeafWeights& weights,
                             TensorReader& reader) {
  const graph::LeafProblem& problem = weights.problem;
  const int64_t leaves = problem.leaves();
  const auto name = [&](absl::string_view tensor) {
    return absl::StrCat(tensors.prefix, tensor);
  };
  if (problem.depth > 0) {
    FFF_ASSIGN_OR_RETURN(weights.node_weights,
                         reader.Floats(name("node_weights"),
                                       {problem.nodes(), problem.input_width}));
    FFF_ASSIGN_OR_RETURN(
        weights.node_biases,
        reader.Floats(name("node_biases"), *tensors.Find("node_biases")));
  } else {
    reader.Ignore(name("node_weights"));
    reader.Ignore(name("node_biases"));
  }
  FFF_ASSIGN_OR_RETURN(weights.w1,
                       reader.Floats(name("w1s"), {leaves, problem.input_width,
                                                   problem.leaf_width}));
  FFF_ASSIGN_OR_RETURN(
      weights.b1, reader.Floats(name("b1s"), {leaves, problem.leaf_width}));
  FFF_ASSIGN_OR_RETURN(weights.w2,
                       reader.Floats(name("w2s"), {leaves, problem.leaf_width,
                                                   problem.output_width}));
  if (problem.has_output_bias) {
    FFF_ASSIGN_OR_RETURN(
        weights.b2, reader.Floats(name("b2s"), {leaves, problem.output_width}));
  } else {
    reader.Ignore(name("b2s"));
  }
  return absl::OkStatus();
}

// The leaf op's weights.
absl::StatusOr<std::shared_ptr<const graph::LeafWeights>> LeafWeightsOf(
    const LayerConfig& config, const Convention& convention,
    const TensorShapes& tensors, TensorReader& reader) {
  auto weights = std::make_shared<graph::LeafWeights>();
  graph::LeafProblem& problem = weights->problem;
  const bool output_bias = config.output_bias.value_or(convention.output_bias);
  FFF_ASSIGN_OR_RETURN(problem,
                       LeafProblemOf(tensors, convention, output_bias));
  problem.tie = config.tie.value_or(problem.tie);
  FFF_ASSIGN_OR_RETURN(problem.activation, ActivationOf(config, convention));
  FFF_RETURN_IF_ERROR(CheckDepth(tensors, problem.depth, reader));
  FFF_RETURN_IF_ERROR(ReadLeafTensors(tensors, *weights, reader));
  return weights;
}

// One of the two products of the master leaf: its matrix [1, in, out], stored
// by torch as it multiplies rows, and its bias [1, out].
absl::StatusOr<graph::Op> MasterProduct(const TensorShapes& tensors,
                                        absl::string_view number,
                                        const graph::DenseProblem& problem,
                                        TensorReader& reader) {
  const int64_t in = problem.input_width;
  const int64_t out = problem.output_width;
  auto weights = std::make_shared<graph::DenseWeights>();
  weights->problem = problem;
  FFF_ASSIGN_OR_RETURN(
      const tensor::FloatArray w,
      reader.Floats(absl::StrCat(tensors.prefix, "magic_w", number),
                    {1, in, out}));
  weights->w = tensor::Transposed(w.span(), in, out);
  FFF_ASSIGN_OR_RETURN(
      weights->bias,
      reader.Floats(absl::StrCat(tensors.prefix, "magic_b", number), {1, out}));
  return graph::Linear{{std::move(weights)}};
}

}  // namespace

absl::StatusOr<graph::FffPath> ReadPathOp(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader) {
  const Layout& layout = *convention.layout;
  auto weights = std::make_shared<graph::PathWeights>();
  graph::FffPath op;
  graph::PathProblem& problem = weights->problem;
  FFF_ASSIGN_OR_RETURN(problem,
                       PathProblemOf(tensors, convention, config.trees));
  FFF_RETURN_IF_ERROR(
      CheckPathBias(config, convention, problem, tensors.prefix));
  problem.tie = config.tie.value_or(problem.tie);
  FFF_ASSIGN_OR_RETURN(problem.activation, ActivationOf(config, convention));
  const int64_t rows = problem.trees * problem.nodes();
  const int64_t out = problem.output_width;
  const auto name = [&](absl::string_view tensor) {
    return absl::StrCat(tensors.prefix, tensor);
  };
  FFF_ASSIGN_OR_RETURN(
      weights->x, reader.Floats(name(layout.x), {rows, problem.input_width}));
  if (problem.has_bias) {
    FFF_ASSIGN_OR_RETURN(weights->bias,
                         reader.Floats(name(layout.bias), {rows}));
  }
  if (layout.y_columns) {
    FFF_ASSIGN_OR_RETURN(op.y_columns,
                         reader.Floats(name(layout.y), {out, rows}));
    weights->y = tensor::Transposed(op.y_columns.span(), out, rows);
  } else {
    FFF_ASSIGN_OR_RETURN(weights->y,
                         reader.Floats(name(layout.y), {rows, out}));
  }
  op.weights = std::move(weights);
  return op;
}

absl::StatusOr<LoadedLayer> ReadPath(const LayerConfig& config,
                                     const Convention& convention,
                                     const TensorShapes& tensors,
                                     TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(graph::FffPath op,
                       ReadPathOp(config, convention, tensors, reader));
  const int64_t in = op.problem().input_width;
  return FffOp(convention, in, std::move(op));
}

absl::StatusOr<LoadedLayer> ReadLeaf(const LayerConfig& config,
                                     const Convention& convention,
                                     const TensorShapes& tensors,
                                     TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(auto weights,
                       LeafWeightsOf(config, convention, tensors, reader));
  const int64_t in = weights->problem.input_width;
  return FffOp(convention, in, graph::FffLeaf{{std::move(weights)}});
}

absl::StatusOr<LoadedLayer> ReadMasterLeaf(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(auto weights,
                       LeafWeightsOf(config, convention, tensors, reader));
  const int64_t in = weights->problem.input_width;
  const int64_t out = weights->problem.output_width;
  FFF_ASSIGN_OR_RETURN(const int64_t width,
                       MasterLeafWidthOf(tensors, weights->problem));
  FFF_ASSIGN_OR_RETURN(
      graph::Op hidden,
      MasterProduct(tensors, "1", {in, width, graph::Activation::kRelu, true},
                    reader));
  FFF_ASSIGN_OR_RETURN(
      graph::Op output,
      MasterProduct(tensors, "2",
                    {width, out, graph::Activation::kIdentity, true}, reader));
  FFF_ASSIGN_OR_RETURN(const float k,
                       reader.Scalar(absl::StrCat(tensors.prefix, "k")));
  const auto share = static_cast<float>(1 / (1 + std::exp(-double{k})));
  const auto blend = std::make_shared<const graph::BlendWeights>(
      graph::BlendWeights{{out, out, share}});
  LoadedLayer loaded = FffLayer(convention, in);
  loaded.layer.note =
      absl::StrCat("; master leaf of width ", width, ", relu, weighs ",
                   absl::StrFormat("%.3f", 1 - share));
  loaded.add =
      [=](graph::GraphBuilder& builder, graph::ValueId x,
          const LayerContext& /*context*/) -> absl::StatusOr<graph::ValueId> {
    FFF_ASSIGN_OR_RETURN(const graph::ValueId leaf,
                         builder.Add(graph::FffLeaf{{weights}}, x));
    FFF_ASSIGN_OR_RETURN(const graph::ValueId master,
                         builder.AddChain({hidden, output}, x));
    return builder.Add(graph::Blend{{blend}}, {leaf, master});
  };
  return loaded;
}

}  // namespace fff::importer

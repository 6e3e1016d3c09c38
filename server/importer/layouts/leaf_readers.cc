#include "server/importer/layouts/leaf_readers.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/layouts/fff_ops.h"
#include "server/importer/layouts/leaf_parts.h"

namespace fff::importer {
namespace {

using tensor::FloatArray;
using tensor::FloatBuffer;
using tensor::Shape;

FloatArray Negated(const FloatArray& values) {
  FloatBuffer made(values.size());
  for (int64_t i = 0; i < values.size(); ++i) made.data()[i] = -values[i];
  return std::move(made).Freeze();
}

// Depth and input width from nodes [2^d - 1, I].
absl::StatusOr<LeafParts> NodesOf(const TensorShapes& tensors,
                                  absl::string_view name,
                                  TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(const Shape shape,
                       Expect(tensors, name, {{"N"}, {"I"}}));
  LeafParts parts;
  FFF_ASSIGN_OR_RETURN(parts.depth, DepthOfNodes(tensors, name, shape[0]));
  parts.in = shape[1];
  FFF_ASSIGN_OR_RETURN(parts.nodes,
                       reader.Floats(tensors.FullName(name), shape));
  return parts;
}

// A bias per node: [N], or [N, 1].
absl::StatusOr<FloatArray> NodeBiases(const TensorShapes& tensors,
                                      absl::string_view name, int64_t nodes,
                                      TensorReader& reader) {
  const Shape* shape = tensors.Find(name);
  if (shape != nullptr && shape->size() == 2) {
    return reader.Floats(tensors.FullName(name), {nodes, 1});
  }
  return FloatsIfThere(tensors, name, {nodes}, reader);
}

absl::StatusOr<LoadedLayer> OneTree(const Convention& convention, int64_t in,
                                    absl::StatusOr<graph::Op> op) {
  if (!op.ok()) return op.status();
  return FffOp(convention, in, *std::move(op));
}

}  // namespace

absl::StatusOr<LoadedLayer> ReadLinearLeaf(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(LeafParts parts,
                       NodesOf(tensors, "node_weights", reader));
  const int64_t leaves = parts.leaves();
  FFF_ASSIGN_OR_RETURN(
      parts.node_biases,
      NodeBiases(tensors, "node_biases", parts.node_count(), reader));
  FFF_ASSIGN_OR_RETURN(const Shape w1,
                       Expect(tensors, "leaf_weights1",
                              {{"leaves", leaves}, {"I", parts.in}, {"l"}}));
  parts.width = w1[2];
  FFF_ASSIGN_OR_RETURN(const Shape w2,
                       Expect(tensors, "leaf_weights2",
                              {{"leaves", leaves}, {"l", parts.width}, {"O"}}));
  parts.out = w2[2];
  FFF_ASSIGN_OR_RETURN(parts.w1,
                       reader.Floats(tensors.FullName("leaf_weights1"), w1));
  FFF_ASSIGN_OR_RETURN(parts.b1, FloatsIfThere(tensors, "leaf_biases1",
                                               {leaves, parts.width}, reader));
  FFF_ASSIGN_OR_RETURN(parts.w2,
                       reader.Floats(tensors.FullName("leaf_weights2"), w2));
  FFF_ASSIGN_OR_RETURN(parts.b2, FloatsIfThere(tensors, "leaf_biases2",
                                               {leaves, parts.out}, reader));
  const int64_t in = parts.in;
  return OneTree(convention, in, LeafOp(config, convention, std::move(parts)));
}

absl::StatusOr<LoadedLayer> ReadHyperzensLinear(const LayerConfig& config,
                                                const Convention& convention,
                                                const TensorShapes& tensors,
                                                TensorReader& reader) {
  const Shape* routers = tensors.Find("router_weights");
  const bool forest = routers != nullptr && routers->size() == 3;
  const int64_t trees = forest ? (*routers)[0] : 1;
  const auto of = [&](Shape shape) {
    if (forest) shape.insert(shape.begin(), trees);
    return shape;
  };
  const auto wanted = [&](std::vector<Dimension> dimensions) {
    if (forest) dimensions.insert(dimensions.begin(), {"K", trees});
    return dimensions;
  };
  if (trees < 1 || trees > kBranchesMax ||
      config.trees.value_or(trees) != trees) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, "router_weights"), ": found ", trees,
        " trees, wanted ",
        config.trees.has_value() ? absl::StrCat(*config.trees, ", \"trees\"")
                                 : absl::StrCat("1 to ", kBranchesMax)));
  }
  FFF_ASSIGN_OR_RETURN(const Shape nodes, Expect(tensors, "router_weights",
                                                 wanted({{"N"}, {"I"}})));
  LeafParts parts;
  const int64_t rows = nodes[nodes.size() - 2];
  parts.in = nodes.back();
  FFF_ASSIGN_OR_RETURN(parts.depth,
                       DepthOfNodes(tensors, "router_weights", rows));
  const int64_t leaves = parts.leaves();
  FFF_ASSIGN_OR_RETURN(
      const Shape leaf,
      Expect(tensors, "leaf_weights",
             wanted({{"leaves", leaves}, {"I", parts.in}, {"O"}})));
  parts.out = leaf.back();
  FFF_ASSIGN_OR_RETURN(
      const FloatArray x,
      reader.Floats(tensors.FullName("router_weights"), nodes));
  FFF_ASSIGN_OR_RETURN(
      const FloatArray x_bias,
      FloatsIfThere(tensors, "router_biases", of({rows}), reader));
  FFF_ASSIGN_OR_RETURN(const FloatArray w,
                       reader.Floats(tensors.FullName("leaf_weights"), leaf));
  FFF_ASSIGN_OR_RETURN(
      const FloatArray b,
      FloatsIfThere(tensors, "leaf_biases", of({leaves, parts.out}), reader));
  reader.Ignore(tensors.FullName("temperature"));  // of soft training
  std::vector<Branch> branches;
  for (int64_t t = 0; t < trees; ++t) {
    LeafParts tree = parts;
    tree.nodes = Slice(x, t * rows * parts.in, rows * parts.in);
    tree.node_biases = Slice(x_bias, t * rows, rows);
    const int64_t size = leaves * parts.in * parts.out;
    FFF_ASSIGN_OR_RETURN(
        graph::Op op,
        AffineLeafOp(config, convention, std::move(tree),
                     Slice(w, t * size, size),
                     Slice(b, t * leaves * parts.out, leaves * parts.out)));
    branches.push_back({std::move(op)});
  }
  return FffBranches(convention, parts.in, std::move(branches));
}

absl::StatusOr<LoadedLayer> ReadFastff(const LayerConfig& config,
                                       const Convention& convention,
                                       const TensorShapes& tensors,
                                       TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(LeafParts parts,
                       NodesOf(tensors, "nodes.weight", reader));
  const int64_t in = parts.in;
  const int64_t leaves = parts.leaves();
  FFF_ASSIGN_OR_RETURN(
      parts.node_biases,
      NodeBiases(tensors, "nodes.bias", parts.node_count(), reader));
  FFF_ASSIGN_OR_RETURN(const Shape rows, Expect(tensors, "leaves.weight",
                                                {{"leaves * l"}, {"I", in}}));
  if (rows[0] % leaves != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, "leaves.weight"), ": found ", rows[0],
        " rows, wanted a multiple of the ", leaves, " leaves"));
  }
  const int64_t width = rows[0] / leaves;
  FFF_ASSIGN_OR_RETURN(const FloatArray w,
                       reader.Floats(tensors.FullName("leaves.weight"), rows));
  FFF_ASSIGN_OR_RETURN(
      FloatArray b, FloatsIfThere(tensors, "leaves.bias", {rows[0]}, reader));
  FloatArray w1 = TransposedEach(w.span(), leaves, width, in);
  const Numbered out = {"leaves_out.", ".weight", leaves};
  if (!tensors.Has(out.Name(0))) {
    parts.out = width;
    return OneTree(convention, in,
                   AffineLeafOp(config, convention, std::move(parts),
                                std::move(w1), std::move(b)));
  }
  FFF_RETURN_IF_ERROR(CheckCount(tensors, out));
  FFF_ASSIGN_OR_RETURN(const Shape shape,
                       Expect(tensors, out.Name(0), {{"O"}, {"l", width}}));
  parts.width = width;
  parts.out = shape[0];
  parts.w1 = std::move(w1);
  parts.b1 = std::move(b);
  FFF_ASSIGN_OR_RETURN(const FloatArray w2,
                       Stacked(tensors, out, shape, reader));
  parts.w2 = TransposedEach(w2.span(), leaves, parts.out, width);
  FFF_ASSIGN_OR_RETURN(
      parts.b2,
      StackedBiases(tensors, {out.head, ".bias", leaves}, parts.out, reader));
  return OneTree(convention, in, LeafOp(config, convention, std::move(parts)));
}

absl::StatusOr<LoadedLayer> ReadFastffGate(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(LeafParts parts, NodesOf(tensors, "gate.nodes", reader));
  const int64_t in = parts.in;
  const int64_t leaves = parts.leaves();
  // Its rule is z < 0, that of the kernels z > 0.
  parts.nodes = Negated(parts.nodes);
  FFF_ASSIGN_OR_RETURN(
      const Shape w1,
      Expect(tensors, "experts.w1", {{"leaves", leaves}, {"l"}, {"I", in}}));
  parts.width = w1[1];
  FFF_ASSIGN_OR_RETURN(const Shape w2,
                       Expect(tensors, "experts.w2",
                              {{"leaves", leaves}, {"O"}, {"l", parts.width}}));
  parts.out = w2[1];
  FFF_ASSIGN_OR_RETURN(const FloatArray first,
                       reader.Floats(tensors.FullName("experts.w1"), w1));
  FFF_ASSIGN_OR_RETURN(const FloatArray second,
                       reader.Floats(tensors.FullName("experts.w2"), w2));
  parts.w1 = TransposedEach(first.span(), leaves, parts.width, in);
  parts.w2 = TransposedEach(second.span(), leaves, parts.out, parts.width);
  reader.Ignore(tensors.FullName("gate.t"));  // the tree's shape, for training
  return OneTree(convention, in, LeafOp(config, convention, std::move(parts)));
}

}  // namespace fff::importer

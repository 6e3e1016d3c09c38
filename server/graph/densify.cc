#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "server/graph/passes.h"
#include "server/tensor/matrix.h"

namespace fff::graph {
namespace {

using tensor::FloatBuffer;

// The two products of a dense feedforward layer beside a leaf layer.
struct Master {
  const DenseWeights* hidden = nullptr;
  const DenseWeights* output = nullptr;
  float leaf_share = 1;

  int64_t width() const {
    return hidden == nullptr ? 0 : hidden->problem.output_width;
  }
};

Op MakeLinear(DenseWeights weights) {
  return Linear{{std::make_shared<const DenseWeights>(std::move(weights))}};
}

std::vector<Op> PathNeurons(const FffPath& path) {
  const PathProblem& p = path.problem();
  const int64_t rows = p.trees * p.nodes();
  DenseWeights hidden;
  hidden.problem = {p.input_width, rows, p.activation, p.has_bias};
  hidden.w = path.weights->x;
  hidden.bias = path.weights->bias;
  DenseWeights output;
  output.problem = {rows, p.output_width, Activation::kIdentity, false};
  output.w = path.y_columns.empty() ? tensor::Transposed(path.weights->y.span(),
                                                         rows, p.output_width)
                                    : path.y_columns;
  return {MakeLinear(std::move(hidden)), MakeLinear(std::move(output))};
}

// [leaves*l + m, I]: every leaf's w1 (I, l) transposed, one below the other,
// then the master leaf's.
Op LeafHidden(const LeafWeights& leaf, const Master& master) {
  const LeafProblem& p = leaf.problem;
  const int64_t in = p.input_width;
  const int64_t leaf_rows = p.leaves() * p.leaf_width;
  const int64_t rows = leaf_rows + master.width();
  FloatBuffer w(rows * in);
  const int64_t per_leaf = in * p.leaf_width;
  for (int64_t n = 0; n < p.leaves(); ++n) {
    tensor::TransposeInto(
        leaf.w1.span().subspan(static_cast<size_t>(n * per_leaf),
                               static_cast<size_t>(per_leaf)),
        in, p.leaf_width, w.data() + n * per_leaf, in);
  }
  FloatBuffer bias(rows);
  std::copy_n(leaf.b1.data(), leaf_rows, bias.data());
  if (master.hidden != nullptr) {
    std::copy_n(master.hidden->w.data(), master.width() * in,
                w.data() + leaf_rows * in);
    std::copy_n(master.hidden->bias.data(), master.width(),
                bias.data() + leaf_rows);
  }
  return MakeLinear({{in, rows, p.activation, true},
                     std::move(w).Freeze(),
                     std::move(bias).Freeze()});
}

// The mean of the leaves' output biases beside the master leaf's, each by its
// share; empty where neither has one.
tensor::FloatArray OutputBias(const LeafWeights& leaf, const Master& master) {
  const LeafProblem& p = leaf.problem;
  if (!p.has_output_bias && master.output == nullptr) return {};
  FloatBuffer bias(p.output_width);
  for (int64_t o = 0; o < p.output_width; ++o) {
    double sum = 0;
    for (int64_t n = 0; p.has_output_bias && n < p.leaves(); ++n) {
      sum += leaf.b2[n * p.output_width + o];
    }
    sum *= master.leaf_share / static_cast<double>(p.leaves());
    if (master.output != nullptr) {
      sum += (1 - double{master.leaf_share}) * master.output->bias[o];
    }
    bias.data()[o] = static_cast<float>(sum);
  }
  return std::move(bias).Freeze();
}

// [O, leaves*l + m]: w2 of all leaves is (leaves*l, O) as it stands.
Op LeafOutput(const LeafWeights& leaf, const Master& master) {
  const LeafProblem& p = leaf.problem;
  const int64_t out = p.output_width;
  const int64_t leaf_columns = p.leaves() * p.leaf_width;
  const int64_t columns = leaf_columns + master.width();
  FloatBuffer w(out * columns);
  tensor::TransposeInto(leaf.w2.span(), leaf_columns, out, w.data(), columns);
  for (int64_t o = 0; o < out && master.output != nullptr; ++o) {
    float* const row = w.data() + o * columns;
    const float* const from = master.output->w.data() + o * master.width();
    for (int64_t i = 0; i < leaf_columns; ++i) row[i] *= master.leaf_share;
    for (int64_t i = 0; i < master.width(); ++i) {
      row[leaf_columns + i] = (1 - master.leaf_share) * from[i];
    }
  }
  tensor::FloatArray bias = OutputBias(leaf, master);
  const bool has_bias = !bias.empty();
  return MakeLinear({{columns, out, Activation::kIdentity, has_bias},
                     std::move(w).Freeze(),
                     std::move(bias)});
}

std::vector<Op> LeafNeurons(const LeafWeights& leaf, const Master& master) {
  return {LeafHidden(leaf, master), LeafOutput(leaf, master)};
}

// A leaf op and a dense feedforward layer over the same rows that a blend
// joins: its nodes, in the order of the graph.
struct MasterLeaf {
  const Node* leaf = nullptr;
  const Node* hidden = nullptr;
  const Node* output = nullptr;
};

// Empty where `node` is no such blend, or its parts do not fit into one layer.
MasterLeaf FindMasterLeaf(const Graph& graph, const Node& node) {
  if (!std::holds_alternative<Blend>(node.op)) return {};
  MasterLeaf found;
  found.leaf = graph.ProducerOf(node.in[0]);
  found.output = graph.ProducerOf(node.in[1]);
  if (found.leaf == nullptr || found.output == nullptr) return {};
  found.hidden = graph.ProducerOf(found.output->in[0]);
  if (found.hidden == nullptr) return {};
  const auto* leaf = std::get_if<FffLeaf>(&found.leaf->op);
  const auto* hidden = std::get_if<Linear>(&found.hidden->op);
  const auto* output = std::get_if<Linear>(&found.output->op);
  if (leaf == nullptr || hidden == nullptr || output == nullptr) return {};
  for (const Node* part : {found.leaf, found.hidden, found.output}) {
    if (graph.UsesOf(part->out) != 1) return {};
  }
  const bool one_layer =
      found.leaf->in == found.hidden->in && hidden->problem().has_bias &&
      output->problem().has_bias &&
      hidden->problem().activation == leaf->problem().activation &&
      output->problem().activation == Activation::kIdentity;
  return one_layer ? found : MasterLeaf();
}

}  // namespace

absl::StatusOr<Graph> Densify(const Graph& graph) {
  std::map<const Node*, MasterLeaf> blends;
  std::vector<const Node*> absorbed;  // their neurons are the blend's
  for (const Node& node : graph.nodes()) {
    const MasterLeaf found = FindMasterLeaf(graph, node);
    if (found.leaf == nullptr) continue;
    blends[&node] = found;
    absorbed.insert(absorbed.end(), {found.leaf, found.hidden, found.output});
  }
  bool routes = false;
  const auto rewrite =
      [&](const Node& node) -> absl::StatusOr<std::vector<Op>> {
    routes |= Routes(node.op);
    if (std::find(absorbed.begin(), absorbed.end(), &node) != absorbed.end()) {
      return std::vector<Op>();
    }
    if (const auto blend = blends.find(&node); blend != blends.end()) {
      const MasterLeaf& parts = blend->second;
      return LeafNeurons(*std::get<FffLeaf>(parts.leaf->op).weights,
                         {std::get<Linear>(parts.hidden->op).weights.get(),
                          std::get<Linear>(parts.output->op).weights.get(),
                          std::get<Blend>(node.op).problem().share});
    }
    if (const auto* path = std::get_if<FffPath>(&node.op)) {
      return PathNeurons(*path);
    }
    if (const auto* leaf = std::get_if<FffLeaf>(&node.op)) {
      return LeafNeurons(*leaf->weights, {});
    }
    return std::vector<Op>{node.op};
  };
  auto dense = Rewrite(graph, rewrite);
  if (!dense.ok() || !routes) return dense;
  return dense->WithoutLabels();
}

}  // namespace fff::graph

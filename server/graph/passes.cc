#include "server/graph/passes.h"

#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/graph/reduced_weights.h"

namespace fff::graph {
namespace {

// The op of two that `node` could become part of: a product without an
// activation that nothing else reads; null if none.
const Op* ProductBefore(const Graph& graph, const Node& node) {
  const Node* before = graph.ProducerOf(node.in[0]);
  if (before == nullptr || graph.UsesOf(node.in[0]) != 1) return nullptr;
  const auto* linear = std::get_if<Linear>(&before->op);
  const auto* conv = std::get_if<Conv2d>(&before->op);
  const bool bare =
      (linear != nullptr &&
       linear->problem().activation == Activation::kIdentity) ||
      (conv != nullptr && conv->problem().activation == Activation::kIdentity);
  return bare ? &before->op : nullptr;
}

// A scale with one factor per output of a product.
bool Folds(const Graph& graph, const Node& node) {
  const auto* scale = std::get_if<Scale>(&node.op);
  if (scale == nullptr) return false;
  const Op* before = ProductBefore(graph, node);
  if (before == nullptr) return false;
  const ScaleProblem& p = scale->problem();
  if (const auto* conv = std::get_if<Conv2d>(before)) {
    return p.channels == conv->problem().to.channels;
  }
  return p.inner == 1 &&
         p.channels == std::get<Linear>(*before).problem().output_width;
}

bool Activates(const Graph& graph, const Node& node) {
  return std::holds_alternative<Activate>(node.op) &&
         ProductBefore(graph, node) != nullptr;
}

// Each row of w, and its bias, times the row's factor; the shift added.
template <class Weights>
void FoldInto(const ScaleWeights& scale, Weights& weights) {
  const int64_t rows = scale.problem.channels;
  const int64_t columns = weights.w.size() / rows;
  tensor::FloatBuffer w(weights.w.size());
  tensor::FloatBuffer bias(rows);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      w.data()[r * columns + c] = weights.w[r * columns + c] * scale.scale[r];
    }
    const float before = weights.bias.empty() ? 0 : weights.bias[r];
    bias.data()[r] = before * scale.scale[r] + scale.shift[r];
  }
  weights.w = std::move(w).Freeze();
  weights.bias = std::move(bias).Freeze();
  weights.problem.has_bias = true;
}

template <class Weights>
void Take(const Op& op, Weights& weights) {
  if (const auto* scale = std::get_if<Scale>(&op)) {
    FoldInto(*scale->weights, weights);
  } else {
    weights.problem.activation = std::get<Activate>(op).problem().activation;
  }
}

// The same op over w.
Op OverRows(const Linear& linear, tensor::FloatArray w) {
  auto weights = std::make_shared<DenseWeights>(*linear.weights);
  weights->w = std::move(w);
  weights->copies.ShareWith(linear.weights->copies);
  return Linear{{std::move(weights)}};
}

// The product with what it takes along.
template <class Product>
Op Taking(const Product& product, const Op& op) {
  auto weights = *product.weights;
  Take(op, weights);
  return Product{
      {std::make_shared<const decltype(weights)>(std::move(weights))}};
}

// Every node that `joins` becomes part of the product before it.
using Joins = bool (*)(const Graph& graph, const Node& node);
absl::StatusOr<Graph> JoinToProducts(const Graph& graph, Joins joins) {
  std::map<ValueId, const Node*> joined;  // by the product's value
  for (const Node& node : graph.nodes()) {
    if (joins(graph, node)) joined[node.in[0]] = &node;
  }
  return Rewrite(
      graph, [&](const Node& node) -> absl::StatusOr<std::vector<Op>> {
        if (const auto at = joined.find(node.in[0]);
            at != joined.end() && at->second == &node) {
          return std::vector<Op>();
        }
        const auto behind = joined.find(node.out);
        if (behind == joined.end()) return std::vector<Op>{node.op};
        const Op& taken = behind->second->op;
        if (const auto* linear = std::get_if<Linear>(&node.op)) {
          return std::vector<Op>{Taking(*linear, taken)};
        }
        return std::vector<Op>{Taking(std::get<Conv2d>(node.op), taken)};
      });
}

}  // namespace

absl::StatusOr<Graph> Reduce(const Graph& graph, Precision precision) {
  return Rewrite(
      graph, [&](const Node& node) -> absl::StatusOr<std::vector<Op>> {
        if (const auto* path = std::get_if<FffPath>(&node.op)) {
          FFF_ASSIGN_OR_RETURN(auto weights, Reduced(path->weights, precision));
          return std::vector<Op>{FffPath{{std::move(weights)}, {}}};
        }
        if (const auto* leaf = std::get_if<FffLeaf>(&node.op)) {
          FFF_ASSIGN_OR_RETURN(auto weights, Reduced(leaf->weights, precision));
          return std::vector<Op>{FffLeaf{{std::move(weights)}}};
        }
        return std::vector<Op>{node.op};
      });
}

absl::StatusOr<Graph> Fuse(const Graph& graph) {
  FFF_ASSIGN_OR_RETURN(const Graph folded, JoinToProducts(graph, Folds));
  return JoinToProducts(folded, Activates);
}

absl::StatusOr<Graph> WithoutRows(const Graph& graph,
                                  absl::FunctionRef<bool(size_t node)> drops) {
  const Node* const first = graph.nodes().data();
  return Rewrite(
      graph, [&](const Node& node) -> absl::StatusOr<std::vector<Op>> {
        const auto* linear = std::get_if<Linear>(&node.op);
        if (linear == nullptr || !drops(static_cast<size_t>(&node - first))) {
          return std::vector<Op>{node.op};
        }
        return std::vector<Op>{OverRows(*linear, {})};
      });
}

absl::StatusOr<Graph> WithRows(const Graph& graph) {
  return Rewrite(
      graph, [](const Node& node) -> absl::StatusOr<std::vector<Op>> {
        const auto* linear = std::get_if<Linear>(&node.op);
        if (linear == nullptr || !linear->weights->w.empty()) {
          return std::vector<Op>{node.op};
        }
        const PackedCopies::Copy copy = linear->weights->copies.Any();
        if (copy == nullptr) {
          return absl::FailedPreconditionError(
              absl::StrCat("no kernel holds the weights of ",
                           linear->Describe(), " any more"));
        }
        return std::vector<Op>{OverRows(*linear, copy->Plain())};
      });
}

std::vector<std::string> NeuronsOf(const Graph& graph) {
  std::vector<std::string> neurons;
  for (const Node& node : graph.nodes()) {
    if (const auto* path = std::get_if<FffPath>(&node.op)) {
      const PathProblem& p = path->problem();
      neurons.push_back(p.trees == 1 ? absl::StrCat(p.nodes(), " nodes")
                                     : absl::StrCat(p.trees, " trees of ",
                                                    p.nodes(), " nodes"));
    } else if (const auto* leaf = std::get_if<FffLeaf>(&node.op)) {
      const LeafProblem& p = leaf->problem();
      neurons.push_back(
          absl::StrCat(p.leaves(), " leaves of ", p.leaf_width, " neurons"));
    } else if (std::holds_alternative<Blend>(node.op) && !neurons.empty()) {
      const Node* master = graph.ProducerOf(node.in[1]);
      absl::StrAppend(&neurons.back(), " and a master leaf of ",
                      std::get<Linear>(master->op).problem().input_width);
    }
  }
  return neurons;
}

}  // namespace fff::graph

#include "server/graph/passes.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/graph/reduced_weights.h"

namespace fff::graph {
namespace {

// The linear op that `node`, an activation, can become part of; null if none.
const Linear* FusesWith(const Graph& graph, const Node& node) {
  if (!std::holds_alternative<Activate>(node.op)) return nullptr;
  const Node* before = graph.ProducerOf(node.in[0]);
  if (before == nullptr || graph.UsesOf(node.in[0]) != 1) return nullptr;
  const auto* linear = std::get_if<Linear>(&before->op);
  return linear != nullptr &&
                 linear->problem().activation == Activation::kIdentity
             ? linear
             : nullptr;
}

// The node behind a linear op that it takes along.
const Node* FusedBehind(const Graph& graph, const Node& node) {
  for (const Node& other : graph.nodes()) {
    if (other.in[0] == node.out && FusesWith(graph, other) != nullptr) {
      return &other;
    }
  }
  return nullptr;
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
  return Rewrite(
      graph, [&](const Node& node) -> absl::StatusOr<std::vector<Op>> {
        if (FusesWith(graph, node) != nullptr) {
          return std::vector<Op>();
        }
        const auto* linear = std::get_if<Linear>(&node.op);
        const Node* behind =
            linear == nullptr ? nullptr : FusedBehind(graph, node);
        if (behind == nullptr) return std::vector<Op>{node.op};
        DenseWeights fused = *linear->weights;
        fused.problem.activation =
            std::get<Activate>(behind->op).problem().activation;
        return std::vector<Op>{
            Linear{{std::make_shared<const DenseWeights>(std::move(fused))}}};
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

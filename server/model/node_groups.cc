#include "server/model/node_groups.h"

#include <utility>
#include <variant>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace fff::model {
namespace {

using graph::Node;

// A table of so many bits takes 2 MiB.
constexpr size_t kPairsMax = size_t{1} << 24;

std::string OpText(const Node& node) {
  return absl::StrCat(
      graph::NameOf(node.op), " ",
      graph::Visit(node.op, [](const auto& op) { return op.Describe(); }));
}

// The layer and, where it has several, the op.
std::string TextOf(const Model& model, const Node& node) {
  const LayerFacts& layer = model.layers()[node.layer];
  return absl::StrCat(layer.type, ": ",
                      model.graph().NodesOf(node.layer).size() == 1
                          ? layer.description
                          : OpText(node));
}

bool RoutesIn(const Model& model, const Node& node) {
  return model.layers()[node.layer].routing.trees > 0;
}

// Which nodes of a dense network stand for which of an FFF network: a node that
// routes became one or more of any kind, every other one is there again. Nodes
// beside it in its layer (a master leaf) and an activation behind it may be
// part of what it became.
class Matching {
 public:
  Matching(const Model& fff, const Model& dense) {
    bool behind = false;  // a node that routes
    for (const Node& node : fff.graph().nodes()) {
      left_.push_back(OpText(node));
      routes_.push_back(graph::Routes(node.op));
      optional_.push_back(
          RoutesIn(fff, node) ||
          (behind && std::holds_alternative<graph::Activate>(node.op)));
      behind = routes_.back();
    }
    for (const Node& node : dense.graph().nodes()) {
      right_.push_back(OpText(node));
    }
  }

  // By dense node, the FFF network's; nothing where the networks do not match.
  std::optional<std::vector<size_t>> Find() {
    if ((left_.size() + 1) * (right_.size() + 1) > kPairsMax) return {};
    Fill();
    if (!Fits(0, 0)) return {};
    std::vector<size_t> found;
    for (size_t i = 0; found.size() < right_.size();) {
      const size_t j = found.size();
      const bool stands =
          routes_[i] || (left_[i] == right_[j] && Fits(i + 1, j + 1));
      if (stands) found.push_back(i);
      // The fewest nodes that leave a match for the rest.
      if (!routes_[i] || Fits(i + 1, j + 1)) ++i;
    }
    return found;
  }

 private:
  // From the ends on, whether the nodes from i on match those from j on.
  void Fill() {
    fits_.assign((left_.size() + 1) * (right_.size() + 1), false);
    fits_.back() = true;
    for (size_t i = left_.size(); i-- > 0;) {
      for (size_t j = right_.size() + 1; j-- > 0;) {
        fits_[i * (right_.size() + 1) + j] = FitsAt(i, j);
      }
    }
  }
  bool FitsAt(size_t i, size_t j) const {
    if (j < right_.size() && (routes_[i] || left_[i] == right_[j]) &&
        Fits(i + 1, j + 1)) {
      return true;
    }
    if (routes_[i]) return j < right_.size() && Fits(i, j + 1);
    return optional_[i] && Fits(i + 1, j);
  }
  bool Fits(size_t i, size_t j) const {
    return fits_[i * (right_.size() + 1) + j];
  }

  std::vector<std::string> left_;  // of the FFF network
  std::vector<bool> routes_;
  std::vector<bool> optional_;
  std::vector<std::string> right_;  // of the dense network
  std::vector<bool> fits_;          // by pair of places in both
};

}  // namespace

NodeGroups NodeGroups::Of(const Model& model) {
  NodeGroups made;
  for (const Node& node : model.graph().nodes()) {
    const std::string text = TextOf(model, node);
    const auto found = absl::c_find_if(
        made.groups,
        [&](const NodeGroup& group) { return group.layer == text; });
    const auto group = static_cast<size_t>(found - made.groups.begin());
    if (found == made.groups.end()) {
      made.groups.push_back(
          {text, 0, graph::Routes(node.op), RoutesIn(model, node), node.layer});
    }
    ++made.groups[group].count;
    made.of_node.push_back(group);
  }
  return made;
}

std::optional<NodeGroups> NodeGroups::OfTwin(const Model& dense,
                                             const Model& fff) {
  const auto stands_for = Matching(fff, dense).Find();
  if (!stands_for.has_value()) return std::nullopt;
  const NodeGroups of_fff = Of(fff);
  NodeGroups twin = {{}, of_fff.groups};
  for (NodeGroup& group : twin.groups) group.layer.clear();
  // By group, the FFF network's node whose dense nodes describe it.
  std::vector<std::optional<size_t>> first(twin.groups.size());
  for (size_t j = 0; j < stands_for->size(); ++j) {
    const size_t node = (*stands_for)[j];
    const size_t group = of_fff.of_node[node];
    twin.of_node.push_back(group);
    if (!first[group].has_value()) first[group] = node;
    if (*first[group] != node) continue;
    std::string& text = twin.groups[group].layer;
    absl::StrAppend(&text, text.empty() ? "" : "; ",
                    TextOf(dense, dense.graph().nodes()[j]));
  }
  return twin;
}

bool NodeGroups::Divide() const {
  return groups.size() > 1 &&
         absl::c_any_of(
             groups, [](const NodeGroup& group) { return group.feedforward; });
}

}  // namespace fff::model

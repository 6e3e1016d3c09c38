#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/model/model.h"

namespace fff::model {

// Nodes that are described alike, such as the queries, keys and values of all
// blocks of a network.
struct NodeGroup {
  std::string layer;  // "linear: 768 -> 3072, gelu"
  int64_t count = 0;  // nodes of the FFF network
  bool routes = false;
  // Of an FFF layer, or what stands for one in a dense network.
  bool feedforward = false;
  size_t first_layer = 0;  // of the FFF network, that has such nodes
};

// Which nodes of a network are one line of a report.
struct NodeGroups {
  std::vector<size_t> of_node;  // by node of the graph
  std::vector<NodeGroup> groups;

  // Of the network itself.
  static NodeGroups Of(const Model& model);
  // Of a dense network, `fff`'s groups under its own descriptions. One that is
  // part of an FFF layer's stand-in has none and no nodes. Nothing where the
  // networks differ elsewhere than in FFF layers, or have more than 2^24 pairs
  // of nodes.
  static std::optional<NodeGroups> OfTwin(const Model& dense, const Model& fff);

  // Whether there is something to divide: several groups, one of which is of an
  // FFF layer.
  bool Divide() const;
};

}  // namespace fff::model

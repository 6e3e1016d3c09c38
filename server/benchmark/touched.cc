#include "server/benchmark/touched.h"

#include <algorithm>
#include <memory>

namespace fff::benchmark {
namespace {

using graph::RoutingShape;

// Ascending, each once.
std::vector<int32_t> Distinct(std::vector<int32_t> positions) {
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()),
                  positions.end());
  return positions;
}

std::vector<int32_t> TreeColumn(absl::Span<const int32_t> leaves, int64_t trees,
                                int64_t tree) {
  std::vector<int32_t> column;
  for (size_t i = static_cast<size_t>(tree); i < leaves.size();
       i += static_cast<size_t>(trees)) {
    column.push_back(leaves[i]);
  }
  return column;
}

double LayerBytes(const model::LayerFacts& layer,
                  absl::Span<const int32_t> leaves) {
  const RoutingShape routing = layer.routing;
  int64_t nodes = 0;
  int64_t distinct_leaves = 0;
  for (int64_t tree = 0; tree < routing.trees; ++tree) {
    const std::vector<int32_t> column =
        Distinct(TreeColumn(leaves, routing.trees, tree));
    nodes += DistinctNodes(column, routing.depth,
                           routing.family == RoutingShape::Family::kPath);
    distinct_leaves += static_cast<int64_t>(column.size());
  }
  return TouchedWeightBytes(layer, nodes, distinct_leaves);
}

// The routed layer with the deepest trees, or -1.
int WidestRoutedLayer(const model::Model& model) {
  int widest = -1;
  int depth = -1;
  for (size_t i = 0; i < model.layers().size(); ++i) {
    const RoutingShape routing = model.layers()[i].routing;
    if (routing.trees > 0 && routing.depth > depth) {
      widest = static_cast<int>(i);
      depth = routing.depth;
    }
  }
  return widest;
}

void CountLeaves(std::vector<int32_t> leaves, Touched& touched) {
  std::sort(leaves.begin(), leaves.end());
  int64_t top = 0;
  for (size_t begin = 0; begin < leaves.size();) {
    size_t end = begin;
    while (end < leaves.size() && leaves[end] == leaves[begin]) ++end;
    top = std::max(top, static_cast<int64_t>(end - begin));
    ++touched.distinct_leaves;
    begin = end;
  }
  if (!leaves.empty()) {
    touched.top_leaf_share =
        static_cast<double>(top) / static_cast<double>(leaves.size());
  }
}

}  // namespace

int64_t DistinctNodes(absl::Span<const int32_t> leaves, int depth,
                      bool with_bottom) {
  std::vector<int32_t> level;
  for (const int32_t leaf : leaves) {
    if (leaf >= 0 && leaf < (int64_t{1} << depth)) level.push_back(leaf);
  }
  level = Distinct(std::move(level));
  int64_t nodes = with_bottom ? static_cast<int64_t>(level.size()) : 0;
  for (int up = 0; up < depth; ++up) {
    for (int32_t& position : level) position /= 2;
    level.erase(std::unique(level.begin(), level.end()), level.end());
    nodes += static_cast<int64_t>(level.size());
  }
  return nodes;
}

double TouchedWeightBytes(const model::LayerFacts& layer,
                          int64_t distinct_nodes, int64_t distinct_leaves) {
  const RoutingShape routing = layer.routing;
  const double one_row = layer.cost.weight_bytes;
  if (routing.trees == 0) return one_row;
  if (routing.family == RoutingShape::Family::kPath) {
    const double visited =
        static_cast<double>(layer.tokens_per_row * routing.trees) *
        (routing.depth + 1);
    return one_row / visited * static_cast<double>(distinct_nodes);
  }
  const int64_t width = layer.input_width / routing.tokens;
  const double node = 4.0 * static_cast<double>(width + 1);
  const double leaf = one_row / static_cast<double>(layer.tokens_per_row) -
                      node * routing.depth;
  return node * static_cast<double>(distinct_nodes) +
         leaf * static_cast<double>(distinct_leaves);
}

Touched CountTouched(const model::Model& model, const InputRows& inputs,
                     absl::Span<const tensor::MutableRows> outputs,
                     engine::ExecutionContext& context) {
  Touched touched;
  const int widest = WidestRoutedLayer(model);
  std::vector<int32_t> all_leaves;
  model::Routes routes;
  for (int64_t b = 0; b < inputs.batches(); ++b) {
    const engine::KernelInputs x = inputs.inputs(b);
    routes.Prepare(model, inputs.extent(), /*margins=*/false);
    model.Run({x, outputs, routes.sinks()}, context);
    int64_t floats = 0;
    for (const tensor::MutableRows& y : outputs) floats += y.rows * y.width;
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i].data != nullptr) floats += x[i].rows * x[i].width;
    }
    double bytes = 4.0 * static_cast<double>(floats);
    for (size_t i = 0; i < model.layers().size(); ++i) {
      bytes += LayerBytes(model.layers()[i], routes.leaves(i));
    }
    touched.least_bytes_per_call += bytes;
    if (widest < 0) continue;
    const auto index = static_cast<size_t>(widest);
    const std::vector<int32_t> column = TreeColumn(
        routes.leaves(index), model.layers()[index].routing.trees, 0);
    touched.leaves_per_call += static_cast<double>(Distinct(column).size());
    all_leaves.insert(all_leaves.end(), column.begin(), column.end());
  }
  if (widest >= 0) {
    touched.leaves =
        int64_t{1} << model.layers()[static_cast<size_t>(widest)].routing.depth;
  }
  const auto batches = static_cast<double>(inputs.batches());
  touched.least_bytes_per_call /= batches;
  touched.leaves_per_call /= batches;
  CountLeaves(std::move(all_leaves), touched);
  return touched;
}

}  // namespace fff::benchmark

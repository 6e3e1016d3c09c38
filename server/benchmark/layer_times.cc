#include "server/benchmark/layer_times.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/benchmark/statistics.h"

namespace fff::benchmark {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kCallsMin = 3;

double Seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// The layer and, where it has several, the op.
std::string TextOf(const model::Model& model, const graph::Node& node) {
  const model::LayerFacts& layer = model.layers()[node.layer];
  if (model.graph().NodesOf(node.layer).size() == 1) {
    return absl::StrCat(layer.type, ": ", layer.description);
  }
  return absl::StrCat(
      layer.type, ": ", graph::NameOf(node.op), " ",
      graph::Visit(node.op, [](const auto& op) { return op.Describe(); }));
}

bool RoutesIn(const graph::Node& node) { return graph::Routes(node.op); }

// How many nodes of a dense network stand for one that routes; 0 where the rest
// is not alike.
size_t NodesPerRouted(const graph::Graph& dense, const graph::Graph& fff) {
  const auto routed = static_cast<size_t>(
      std::count_if(fff.nodes().begin(), fff.nodes().end(), RoutesIn));
  const size_t others = fff.nodes().size() - routed;
  if (routed == 0 || dense.nodes().size() <= others) return 0;
  const size_t instead = dense.nodes().size() - others;
  return instead % routed == 0 ? instead / routed : 0;
}

}  // namespace

NodeGroups NodeGroups::Of(const model::Model& model) {
  NodeGroups groups;
  for (const graph::Node& node : model.graph().nodes()) {
    const std::string text = TextOf(model, node);
    size_t group = 0;
    while (group < groups.lines.size() && groups.lines[group].layer != text) {
      ++group;
    }
    if (group == groups.lines.size()) {
      groups.lines.push_back({text, 0, RoutesIn(node)});
    }
    ++groups.lines[group].count;
    groups.of_node.push_back(group);
  }
  return groups;
}

NodeGroups NodeGroups::OfTwin(const model::Model& dense,
                              const model::Model& fff,
                              const NodeGroups& of_fff) {
  const size_t per_routed = NodesPerRouted(dense.graph(), fff.graph());
  if (per_routed == 0) return Of(dense);
  NodeGroups groups = of_fff;
  groups.of_node.clear();
  for (LayerTime& line : groups.lines) line.layer.clear();
  for (size_t i = 0; i < fff.graph().nodes().size(); ++i) {
    const graph::Node& node = fff.graph().nodes()[i];
    std::string& text = groups.lines[of_fff.of_node[i]].layer;
    const bool named = !text.empty();
    for (size_t k = 0; k < (RoutesIn(node) ? per_routed : 1); ++k) {
      const graph::Node& other = dense.graph().nodes()[groups.of_node.size()];
      if (!RoutesIn(node) && other.op.index() != node.op.index()) {
        return Of(dense);
      }
      groups.of_node.push_back(of_fff.of_node[i]);
      if (named) continue;
      absl::StrAppend(&text, text.empty() ? "" : "; ", TextOf(dense, other));
    }
  }
  return groups;
}

std::vector<LayerTime> MeasureLayers(
    const model::Model& model, const NodeGroups& groups,
    const InputRows& inputs, absl::Span<const tensor::MutableRows> outputs,
    double seconds, engine::ExecutionContext& context, CacheFlusher* flusher) {
  std::vector<LayerTime> lines = groups.lines;
  Clock::time_point last;
  const engine::NodeObserver observer = [&](size_t node, tensor::MutableRows) {
    const Clock::time_point now = Clock::now();
    lines[groups.of_node[node]].seconds += Seconds(now - last);
    last = now;
  };
  std::vector<std::vector<double>> samples(lines.size());
  const Clock::time_point start = Clock::now();
  int64_t call = 0;
  while (call < kCallsMin || Seconds(Clock::now() - start) < seconds) {
    if (flusher != nullptr) flusher->Flush();
    for (LayerTime& line : lines) line.seconds = 0;
    engine::Batch batch = {inputs.inputs(call++), outputs, {}};
    batch.observer = &observer;
    last = Clock::now();
    model.RunOnCpu(batch, context);
    for (size_t i = 0; i < lines.size(); ++i) {
      samples[i].push_back(lines[i].seconds);
    }
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    lines[i].seconds = Summarize(std::move(samples[i])).median_s;
  }
  return lines;
}

}  // namespace fff::benchmark

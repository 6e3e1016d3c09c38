#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/benchmark/input_rows.h"
#include "server/benchmark/machine_probe.h"
#include "server/benchmark/report.h"
#include "server/engine/execution_context.h"
#include "server/model/model.h"

namespace fff::benchmark {

// Which nodes of a network are one line of a report: those that are described
// alike, such as the queries, keys and values of all its blocks.
struct NodeGroups {
  std::vector<size_t> of_node;   // by node of the graph
  std::vector<LayerTime> lines;  // without times

  // Of the network itself.
  static NodeGroups Of(const model::Model& model);
  // Of a dense network, `fff`'s groups under its own descriptions, where it has
  // the same nodes but for those that route, each of which became as many as
  // any other; else its own groups.
  static NodeGroups OfTwin(const model::Model& dense, const model::Model& fff,
                           const NodeGroups& of_fff);
};

// What each group takes of one call: medians of calls made for `seconds`, at
// least three of them, on the CPU. The clock is read behind every node, so the
// sum is 20 to 30 ns per node above the time of a call. `outputs` have room for
// one batch; `flusher` may be null (Sampler).
std::vector<LayerTime> MeasureLayers(
    const model::Model& model, const NodeGroups& groups,
    const InputRows& inputs, absl::Span<const tensor::MutableRows> outputs,
    double seconds, engine::ExecutionContext& context, CacheFlusher* flusher);

}  // namespace fff::benchmark

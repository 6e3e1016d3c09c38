#pragma once

#include <vector>

#include "absl/types/span.h"
#include "server/benchmark/input_rows.h"
#include "server/benchmark/machine_probe.h"
#include "server/benchmark/report.h"
#include "server/engine/execution_context.h"
#include "server/model/model.h"
#include "server/model/node_groups.h"

namespace fff::benchmark {

// What each group takes of one call: medians of calls made for `seconds`, at
// least three of them, on the CPU. The clock is read behind every node, so the
// sum is 20 to 30 ns per node above the time of a call. `outputs` have room for
// one batch; `flusher` may be null (Sampler).
std::vector<LayerTime> MeasureLayers(
    const model::Model& model, const model::NodeGroups& groups,
    const InputRows& inputs, absl::Span<const tensor::MutableRows> outputs,
    double seconds, engine::ExecutionContext& context, CacheFlusher* flusher);

}  // namespace fff::benchmark

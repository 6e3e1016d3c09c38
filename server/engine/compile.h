#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/base/progress.h"
#include "server/engine/executable.h"
#include "server/graph/graph.h"

namespace fff::engine {

class TuningMemo;

struct CompileOptions {
  // What choosing the kernels by measurement may take, all nodes together; 0:
  // by predicted cost (PlanOptions).
  double tuning_seconds = 0;
  // Whether FFF ops may be evaluated densely, those nodes beside the path
  // masked.
  bool dense_allowed = false;
  // Measurements of layers of the same shape; may be null.
  TuningMemo* memo = nullptr;
  // Told how many bytes of weights have their kernels, and may end the work;
  // may be null.
  base::Progress* progress = nullptr;
};

// The graph for the CPU. Plans kernels, so it allocates packed weights. Batches
// whose intermediates would not stay in the cache run in blocks of rows
// (memory_plan.h); a row's result does not depend on that beyond rounding. The
// errors of PlanOp, with the node's name, and CANCELLED by `progress`.
absl::StatusOr<std::unique_ptr<const Executable>> Compile(
    const graph::Graph& graph, const CompileOptions& options);

}  // namespace fff::engine

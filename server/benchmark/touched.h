#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/benchmark/input_rows.h"
#include "server/engine/execution_context.h"
#include "server/model/model.h"

// Which weights the input rows of a measurement touch, from the routes that the
// model reports.
namespace fff::benchmark {

struct Touched {
  // Over all input rows, in the routed layer and tree with the most leaves.
  int64_t distinct_leaves = 0;
  int64_t leaves = 0;  // that this tree has
  double top_leaf_share = 0;
  double leaves_per_call = 0;  // mean over the batches
  // Mean over the batches: every weight touched at least once, inputs read
  // once, outputs written once.
  double least_bytes_per_call = 0;
};

// Runs `model` once over every batch of `inputs` and counts. `outputs`, one per
// output of the model, have room for one batch.
Touched CountTouched(const model::Model& model, const InputRows& inputs,
                     absl::Span<const tensor::MutableRows> outputs,
                     engine::ExecutionContext& context);

// Nodes of one tree on the ways from the root to the given bottom positions,
// each node once; `with_bottom` counts the bottom level too. Positions outside
// [0, 2^depth) are ignored.
int64_t DistinctNodes(absl::Span<const int32_t> leaves, int depth,
                      bool with_bottom);

// Bytes of one layer's weights that a call touches whose rows visited
// `distinct_nodes` nodes (over all trees) and `distinct_leaves` leaves.
double TouchedWeightBytes(const model::LayerFacts& layer,
                          int64_t distinct_nodes, int64_t distinct_leaves);

}  // namespace fff::benchmark

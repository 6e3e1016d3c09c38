#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/execution_context.h"
#include "server/model/model.h"
#include "server/serving/batching/layer_stopwatch.h"
#include "server/serving/batching/servable.h"
#include "server/serving/batching/task.h"
#include "server/tensor/float_array.h"

namespace fff::serving {

// Evaluates batches: gathers the tasks' rows, runs the model once, scatters the
// outputs and routes back. Owned and used by one worker thread; its buffers
// grow to the largest batch seen and are then reused.
class BatchRunner {
 public:
  // Row buffers above this are given back after the batch.
  static constexpr int64_t kKeptFloatsMax = int64_t{8} << 20;

  explicit BatchRunner(int threads) : context_(threads) {}

  // Runs `pieces` (at least one, all of `servable`) and writes to each one's
  // task its rows of y and routes, and timing.compute_ns / batch_rows (of a
  // task in several pieces: when all are settled). A single piece is read and
  // written in place. Records compute time, rows, leaf
  // visits and, of a sampled batch, the time of layers.
  void Run(const Servable& servable, absl::Span<const Piece> pieces);

 private:
  // Where the pieces' values lie in the batch: sequences, and every input, read
  // in place of a single piece, else gathered. Views are valid until the next
  // call.
  void Gather(const graph::Graph& graph, absl::Span<const Piece> pieces);
  tensor::TypedRows GatherInput(const graph::Port& port, size_t index,
                                absl::Span<const Piece> pieces);
  void ScatterRoutes(const model::Model& model, const engine::Extent& first,
                     const Piece& piece);
  // Which tokens' outputs are wanted; empty: all.
  void Select(absl::Span<const Piece> pieces);
  // Room for all pieces' rows of an output: in place of a single piece.
  tensor::MutableRows RoomFor(const graph::Port& port, size_t output,
                              absl::Span<const Piece> pieces);
  // Runs the model; its outputs go to the pieces. `stopwatch` may be null.
  void RunModel(const model::Model& model, absl::Span<const Piece> pieces,
                LayerStopwatch* stopwatch);
  static void RecordTiming(const Piece& piece, int64_t compute_ns,
                           int64_t batch_rows);

  engine::ExecutionContext context_;
  std::vector<tensor::FloatBuffer> gathered_;  // one per input
  std::vector<tensor::TypedRows> inputs_;      // likewise
  std::vector<int64_t> starts_;                // of sequences
  std::vector<int32_t> selected_;              // tokens of the batch
  // One per output: of several pieces, or of one that does not want it.
  std::vector<tensor::FloatBuffer> results_;
  std::vector<tensor::MutableRows> outputs_;  // likewise, maybe in a task
  model::Routes routes_;
  LayerStopwatch stopwatch_;
};

}  // namespace fff::serving

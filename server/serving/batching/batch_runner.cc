#include "server/serving/batching/batch_runner.h"

#include <algorithm>

#include "server/base/check.h"

namespace fff::serving {
namespace {

// What decode and the queue promise of a piece.
void CheckPiece(const model::Model& model, const Piece& piece) {
  const Task& task = *piece.task;
  FFF_CHECK(piece.first_row >= 0 && piece.rows > 0 &&
            piece.rows <= task.x.rows - piece.first_row);
  FFF_CHECK(task.y.rows == task.x.rows);
  FFF_CHECK(task.x.width == model.input().width());
  FFF_CHECK(task.y.width == model.output().width());
  FFF_CHECK(task.routes.empty() || task.routes.size() == model.layers().size());
}

int64_t TotalRows(const model::Model& model, absl::Span<const Piece> pieces) {
  int64_t rows = 0;
  for (const Piece& piece : pieces) {
    CheckPiece(model, piece);
    rows += piece.rows;
  }
  return rows;
}

bool AnyWantsMargins(absl::Span<const Piece> pieces) {
  for (const Piece& piece : pieces) {
    for (const engine::RouteSink& sink : piece.task->routes) {
      if (sink.margins != nullptr) return true;
    }
  }
  return false;
}

void Reserve(tensor::FloatBuffer& buffer, int64_t floats) {
  if (buffer.size() < floats) buffer = tensor::FloatBuffer(floats);
}

void Cap(tensor::FloatBuffer& buffer) {
  if (buffer.size() > BatchRunner::kKeptFloatsMax) {
    buffer = tensor::FloatBuffer();
  }
}

void RecordBatch(const Servable& servable, int64_t rows, int64_t compute_ns,
                 absl::Span<const engine::RouteSink> sinks) {
  metrics::ModelMetrics& metrics = servable.metrics();
  metrics.compute_duration.Observe(static_cast<uint64_t>(compute_ns));
  metrics.batch_rows.Observe(static_cast<uint64_t>(rows));
  metrics.rows.Add(static_cast<uint64_t>(rows));
  for (metrics::LeafVisits& visits : *servable.parts().leaf_visits) {
    const auto layer = static_cast<size_t>(visits.layer().index);
    const int64_t ways = servable.model().layers()[layer].routing.ways();
    FFF_CHECK(layer < sinks.size() && sinks[layer].leaves != nullptr);
    visits.Record({sinks[layer].leaves, static_cast<size_t>(rows * ways)});
  }
}

}  // namespace

void BatchRunner::ScatterRoutes(const model::Model& model, int64_t batch_row,
                                const Piece& piece) {
  const absl::Span<const engine::RouteSink> routes = piece.task->routes;
  for (size_t i = 0; i < routes.size(); ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    const engine::RouteSink& wanted = routes[i];
    if (shape.trees == 0) continue;
    if (wanted.leaves != nullptr) {
      std::copy_n(routes_.sinks()[i].leaves + batch_row * shape.ways(),
                  piece.rows * shape.ways(),
                  wanted.leaves + piece.first_row * shape.ways());
    }
    if (wanted.margins != nullptr) {
      const int64_t per_row = shape.ways() * shape.decisions;
      std::copy_n(routes_.sinks()[i].margins + batch_row * per_row,
                  piece.rows * per_row,
                  wanted.margins + piece.first_row * per_row);
    }
  }
}

void BatchRunner::RecordTiming(const Piece& piece, int64_t compute_ns,
                               int64_t batch_rows) {
  if (piece.whole()) {
    piece.task->timing.compute_ns = compute_ns;
    piece.task->timing.batch_rows = batch_rows;
    return;
  }
  Task::Progress& progress = piece.task->progress_;
  progress.compute_ns.fetch_add(compute_ns, std::memory_order_relaxed);
  int64_t largest = progress.batch_rows.load(std::memory_order_relaxed);
  while (largest < batch_rows &&
         !progress.batch_rows.compare_exchange_weak(largest, batch_rows)) {
  }
}

void BatchRunner::Run(const Servable& servable,
                      absl::Span<const Piece> pieces) {
  const model::Model& model = servable.model();
  FFF_CHECK(!pieces.empty());
  const int64_t rows = TotalRows(model, pieces);
  tensor::ConstRows x = pieces[0].x();
  tensor::MutableRows y = pieces[0].y();
  if (pieces.size() > 1) {
    Reserve(input_, rows * x.width);
    Reserve(output_, rows * y.width);
    float* to = input_.data();
    for (const Piece& piece : pieces) {
      to = std::copy_n(piece.x().data, piece.rows * x.width, to);
    }
    x = {input_.data(), rows, x.width};
    y = {output_.data(), rows, y.width};
  }
  routes_.Prepare(model, rows, AnyWantsMargins(pieces));

  const Clock::time_point start = Clock::now();
  model.Run(engine::RowsBatch(x, y, routes_.sinks()), context_);
  const Clock::time_point end = Clock::now();
  const int64_t compute_ns = Nanoseconds(end - start);
  servable.estimate().Add(rows, compute_ns);

  int64_t batch_row = 0;
  for (const Piece& piece : pieces) {
    if (pieces.size() > 1) {
      std::copy_n(y.row(batch_row), piece.rows * y.width, piece.y().data);
    }
    ScatterRoutes(model, batch_row, piece);
    RecordTiming(piece, compute_ns, rows);
    if (piece.whole()) piece.task->timing.computed_at = end;
    batch_row += piece.rows;
  }
  RecordBatch(servable, rows, compute_ns, routes_.sinks());
  Cap(input_);
  Cap(output_);
}

}  // namespace fff::serving

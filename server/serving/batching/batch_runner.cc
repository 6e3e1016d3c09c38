#include "server/serving/batching/batch_runner.h"

#include <algorithm>
#include <cstring>

#include "absl/algorithm/container.h"
#include "server/base/check.h"
#include "server/serving/batching/top_columns.h"

namespace fff::serving {
namespace {

// Elements of one row of a request's.
int64_t RowWidth(const graph::Port& port, const Task& task) {
  return port.width() * (port.sequence ? task.tokens : 1);
}

// What decode promises of the places of a task's outputs.
void CheckOutputs(const model::Model& model, const Task& task) {
  const absl::Span<const graph::Port> ports = model.graph().outputs();
  FFF_CHECK(task.others.size() < ports.size());
  FFF_CHECK(task.y.data != nullptr || task.top_k == 0);
  for (size_t i = 0; i < ports.size(); ++i) {
    const tensor::MutableRows y = task.output(i);
    if (y.data == nullptr) continue;
    const int64_t columns =
        i == 0 && task.top_k > 0 ? task.top_k : ports[i].width();
    FFF_CHECK(y.rows == task.rows());
    FFF_CHECK(y.width == task.outputs_per_row(ports[i].sequence) * columns);
  }
}

// What decode and the queue promise of a piece.
void CheckPiece(const model::Model& model, const Piece& piece) {
  const Task& task = *piece.task;
  const absl::Span<const graph::Port> ports = model.graph().inputs();
  FFF_CHECK(piece.first_row >= 0 && piece.rows > 0 &&
            piece.rows <= task.rows() - piece.first_row);
  FFF_CHECK(task.inputs.size() == ports.size() && task.tokens > 0);
  for (size_t i = 0; i < ports.size(); ++i) {
    const tensor::TypedRows& input = task.inputs[i];
    FFF_CHECK(input.type == ports[i].type().data_type);
    if (ports[i].optional && input.data == nullptr) continue;
    FFF_CHECK(input.rows == task.rows());
    FFF_CHECK(input.width == RowWidth(ports[i], task));
  }
  CheckOutputs(model, task);
  FFF_CHECK(task.positions.empty() ||
            (model.graph().positions() != nullptr &&
             static_cast<int64_t>(task.positions.size()) % task.rows() == 0));
  FFF_CHECK(task.top_k <= model.output().width() &&
            (task.top_k == 0 || task.top_ids != nullptr));
  FFF_CHECK(task.routes.empty() || task.routes.size() == model.layers().size());
}

engine::Extent TotalOf(const model::Model& model,
                       absl::Span<const Piece> pieces) {
  engine::Extent total;
  for (const Piece& piece : pieces) {
    CheckPiece(model, piece);
    total.rows += piece.rows;
    total.tokens += piece.extent().tokens;
  }
  return total;
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

void RecordBatch(const Servable& servable, const engine::Extent& extent,
                 int64_t compute_ns,
                 absl::Span<const engine::RouteSink> sinks) {
  metrics::ModelMetrics& metrics = servable.metrics();
  metrics.compute_duration.Observe(static_cast<uint64_t>(compute_ns));
  metrics.batch_rows.Observe(static_cast<uint64_t>(extent.rows));
  metrics.batch_costs.Add(static_cast<uint64_t>(extent.rows),
                          static_cast<uint64_t>(compute_ns));
  metrics.rows.Add(static_cast<uint64_t>(extent.rows));
  metrics.tokens.Add(static_cast<uint64_t>(extent.tokens));
  for (metrics::LeafVisits& visits : *servable.parts().leaf_visits) {
    const auto layer = static_cast<size_t>(visits.layer().index);
    const graph::RoutingShape& shape = servable.model().layers()[layer].routing;
    FFF_CHECK(layer < sinks.size() && sinks[layer].leaves != nullptr);
    visits.Record(
        {sinks[layer].leaves,
         static_cast<size_t>(extent.Of(shape.per_token) * shape.ways())});
  }
}

// Takes one output of a batch, in order, and gives each piece its own rows.
class Scatter {
 public:
  Scatter(const graph::Port& port, size_t output,
          absl::Span<const Piece> pieces)
      : port_(port), output_(output), pieces_(pieces) {}

  void Take(tensor::ConstRows y) {
    for (int64_t i = 0; i < y.rows;) {
      const Piece& piece = pieces_[piece_];
      const int64_t rows =
          std::min(piece.outputs(port_.sequence) - taken_, y.rows - i);
      Give(piece, {y.row(i), rows, y.width});
      i += rows;
      taken_ += rows;
      if (taken_ < piece.outputs(port_.sequence)) continue;
      ++piece_;
      taken_ = 0;
    }
  }

 private:
  // Behind those that it has been given.
  void Give(const Piece& piece, tensor::ConstRows y) const {
    const Task& task = *piece.task;
    float* const to_task = task.output(output_).data;
    if (to_task == nullptr) return;  // not wanted
    const int64_t first =
        piece.first_row * task.outputs_per_row(port_.sequence) + taken_;
    if (output_ > 0 || task.top_k == 0) {
      std::copy_n(y.data, y.rows * y.width, to_task + first * y.width);
      return;
    }
    for (int64_t r = 0; r < y.rows; ++r) {
      const int64_t to = (first + r) * task.top_k;
      SelectTop(y.row(r), y.width, task.top_k, to_task + to, task.top_ids + to);
    }
  }

  const graph::Port& port_;
  const size_t output_;
  const absl::Span<const Piece> pieces_;
  size_t piece_ = 0;   // that the next row belongs to
  int64_t taken_ = 0;  // rows that it has been given
};

// The same values, a row per token where the port's rows are sequences.
tensor::TypedRows InBatch(const graph::Port& port, const tensor::TypedRows& in,
                          const engine::Extent& extent) {
  return {in.type, in.data, extent.Of(port.sequence), port.width()};
}

}  // namespace

tensor::TypedRows BatchRunner::GatherInput(const graph::Port& port,
                                           size_t index,
                                           absl::Span<const Piece> pieces) {
  engine::Extent extent;
  bool absent = true;
  for (const Piece& piece : pieces) {
    absent &= piece.task->inputs[index].data == nullptr;
    extent.rows += piece.rows;
    extent.tokens += piece.extent().tokens;
  }
  const tensor::TypedRows first = pieces[0].input(index);
  if (pieces.size() == 1 || absent) return InBatch(port, first, extent);
  tensor::FloatBuffer& buffer = gathered_[index];
  Reserve(buffer, extent.Of(port.sequence) * port.width());
  float* to = buffer.data();
  for (const Piece& piece : pieces) {
    const int64_t elements = piece.rows * RowWidth(port, *piece.task);
    const tensor::TypedRows from = piece.input(index);
    if (from.data == nullptr) {  // a mask that leaves nothing out
      std::fill_n(reinterpret_cast<int32_t*>(to), elements, 1);
    } else {
      std::memcpy(to, from.data, static_cast<size_t>(elements) * sizeof(float));
    }
    to += elements;
  }
  return InBatch(port, {first.type, buffer.data(), 0, 0}, extent);
}

void BatchRunner::Gather(const graph::Graph& graph,
                         absl::Span<const Piece> pieces) {
  const absl::Span<const graph::Port> ports = graph.inputs();
  gathered_.resize(std::max(gathered_.size(), ports.size()));
  inputs_.clear();
  for (size_t i = 0; i < ports.size(); ++i) {
    inputs_.push_back(GatherInput(ports[i], i, pieces));
  }
  starts_.clear();
  if (!graph.sequences()) return;
  starts_.push_back(0);
  for (const Piece& piece : pieces) {
    for (int64_t r = 0; r < piece.rows; ++r) {
      starts_.push_back(starts_.back() + piece.task->tokens);
    }
  }
}

void BatchRunner::ScatterRoutes(const model::Model& model,
                                const engine::Extent& first,
                                const Piece& piece) {
  const absl::Span<const engine::RouteSink> routes = piece.task->routes;
  for (size_t i = 0; i < routes.size(); ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    const engine::RouteSink& wanted = routes[i];
    if (shape.trees == 0) continue;
    const int64_t ways_per_row =
        shape.ways() * (shape.per_token ? piece.task->tokens : 1);
    const int64_t ways = piece.rows * ways_per_row;
    const int64_t from = first.Of(shape.per_token) * shape.ways();
    const int64_t to = piece.first_row * ways_per_row;
    if (wanted.leaves != nullptr) {
      std::copy_n(routes_.sinks()[i].leaves + from, ways, wanted.leaves + to);
    }
    if (wanted.margins != nullptr) {
      std::copy_n(routes_.sinks()[i].margins + from * shape.decisions,
                  ways * shape.decisions,
                  wanted.margins + to * shape.decisions);
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

void BatchRunner::Select(absl::Span<const Piece> pieces) {
  selected_.clear();
  if (absl::c_all_of(pieces, [](const Piece& piece) {
        return piece.task->positions.empty();
      })) {
    return;
  }
  int64_t start = 0;  // of a row's tokens
  for (const Piece& piece : pieces) {
    const Task& task = *piece.task;
    const int64_t per_row = task.outputs_per_row(/*per_token=*/true);
    for (int64_t r = 0; r < piece.rows; ++r, start += task.tokens) {
      const int64_t first = (piece.first_row + r) * per_row;
      for (int64_t i = 0; i < per_row; ++i) {
        const int64_t place =
            task.positions.empty()
                ? i
                : task.positions[static_cast<size_t>(first + i)];
        selected_.push_back(static_cast<int32_t>(start + place));
      }
    }
  }
}

tensor::MutableRows BatchRunner::RoomFor(const graph::Port& port, size_t output,
                                         absl::Span<const Piece> pieces) {
  tensor::MutableRows y = {nullptr, 0, port.width()};
  for (const Piece& piece : pieces) y.rows += piece.outputs(port.sequence);
  if (pieces.size() == 1) y.data = pieces[0].output(output);
  if (y.data == nullptr) {
    Reserve(results_[output], y.rows * y.width);
    y.data = results_[output].data();
  }
  return y;
}

void BatchRunner::RunModel(const model::Model& model,
                           absl::Span<const Piece> pieces,
                           LayerStopwatch* stopwatch) {
  const absl::Span<const graph::Port> ports = model.graph().outputs();
  // The main output goes through a sink where some of its columns are wanted.
  const bool top = absl::c_any_of(
      pieces, [](const Piece& piece) { return piece.task->top_k > 0; });
  Scatter scatter(ports[0], 0, pieces);
  const engine::OutputSink sink = [&](int64_t /*first*/, tensor::ConstRows y) {
    scatter.Take(y);
    if (stopwatch != nullptr) stopwatch->Skip();
  };
  engine::Batch batch = {
      engine::KernelInputs(inputs_, engine::Sequences(starts_)),
      {},
      routes_.sinks()};
  batch.selected = selected_;
  if (top) batch.sink = &sink;
  if (stopwatch != nullptr) batch.observer = stopwatch->observer();
  results_.resize(std::max(results_.size(), ports.size()));
  outputs_.clear();
  for (size_t i = 0; i < ports.size(); ++i) {
    outputs_.push_back(top && i == 0 ? tensor::MutableRows()
                                     : RoomFor(ports[i], i, pieces));
  }
  batch.outputs = outputs_;
  model.Run(batch, context_);
  if (pieces.size() == 1) return;  // in place
  for (size_t i = top ? 1 : 0; i < ports.size(); ++i) {
    const tensor::MutableRows& y = outputs_[i];
    Scatter(ports[i], i, pieces).Take({y.data, y.rows, y.width});
  }
}

void BatchRunner::Run(const Servable& servable,
                      absl::Span<const Piece> pieces) {
  const model::Model& model = servable.model();
  FFF_CHECK(!pieces.empty());
  const engine::Extent total = TotalOf(model, pieces);
  Gather(model.graph(), pieces);
  Select(pieces);
  routes_.Prepare(model, total, AnyWantsMargins(pieces));

  context_.set_finite_input(absl::c_all_of(
      pieces, [](const Piece& piece) { return piece.task->finite; }));
  LayerStopwatch* const stopwatch =
      servable.SamplesNext() ? &stopwatch_ : nullptr;
  const Clock::time_point start = Clock::now();
  if (stopwatch != nullptr) stopwatch->Start(*servable.parts().node_groups);
  RunModel(model, pieces, stopwatch);
  const Clock::time_point end = Clock::now();
  const int64_t compute_ns = Nanoseconds(end - start);
  servable.estimate().Add(total.tokens, compute_ns);

  engine::Extent first;
  for (const Piece& piece : pieces) {
    const engine::Extent extent = {piece.rows, piece.extent().tokens};
    ScatterRoutes(model, first, piece);
    RecordTiming(piece, compute_ns, total.rows);
    if (piece.whole()) piece.task->timing.computed_at = end;
    first.rows += extent.rows;
    first.tokens += extent.tokens;
  }
  RecordBatch(servable, total, compute_ns, routes_.sinks());
  if (stopwatch != nullptr && stopwatch->any()) {
    servable.parts().layer_times->Record(
        {stopwatch->ns(), total.rows, total.tokens});
  }
  for (tensor::FloatBuffer& buffer : gathered_) Cap(buffer);
  for (tensor::FloatBuffer& buffer : results_) Cap(buffer);
}

}  // namespace fff::serving

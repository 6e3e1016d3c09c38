#include "server/serving/batch_runner.h"

#include <algorithm>
#include <chrono>

namespace fff::serving {
namespace {

int64_t NanosecondsSince(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() -
                                                              start)
      .count();
}

int64_t TotalRows(absl::Span<Task* const> tasks) {
  int64_t rows = 0;
  for (const Task* task : tasks) rows += task->x.rows;
  return rows;
}

bool AnyWantsMargins(absl::Span<Task* const> tasks) {
  for (const Task* task : tasks) {
    for (const engine::RouteSink& sink : task->routes) {
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
  for (size_t i = 0; i < metrics.leaf_visits.size(); ++i) {
    const auto layer = static_cast<size_t>(metrics.layer_index[i]);
    const int64_t trees = servable.model().layers()[layer]->routing().trees;
    metrics.leaf_visits[i]->Record(
        {sinks[layer].leaves, static_cast<size_t>(rows * trees)});
  }
}

}  // namespace

void BatchRunner::PrepareRoutes(const model::Model& model, int64_t rows,
                                bool margins) {
  routes_.resize(model.layers().size());
  sinks_.assign(model.layers().size(), engine::RouteSink());
  for (size_t i = 0; i < routes_.size(); ++i) {
    const model::RoutingShape shape = model.layers()[i]->routing();
    if (shape.trees == 0) continue;
    const auto leaves = static_cast<size_t>(rows * shape.trees);
    if (routes_[i].leaves.size() < leaves) routes_[i].leaves.resize(leaves);
    sinks_[i].leaves = routes_[i].leaves.data();
    if (!margins) continue;
    const size_t count = leaves * static_cast<size_t>(shape.decisions);
    if (routes_[i].margins.size() < count) routes_[i].margins.resize(count);
    sinks_[i].margins = routes_[i].margins.data();
  }
}

void BatchRunner::ScatterRoutes(const model::Model& model, int64_t first_row,
                                Task& task) {
  for (size_t i = 0; i < task.routes.size(); ++i) {
    const model::RoutingShape shape = model.layers()[i]->routing();
    const engine::RouteSink& wanted = task.routes[i];
    if (shape.trees == 0) continue;
    if (wanted.leaves != nullptr) {
      std::copy_n(sinks_[i].leaves + first_row * shape.trees,
                  task.x.rows * shape.trees, wanted.leaves);
    }
    if (wanted.margins != nullptr) {
      const int64_t per_row = shape.trees * shape.decisions;
      std::copy_n(sinks_[i].margins + first_row * per_row,
                  task.x.rows * per_row, wanted.margins);
    }
  }
}

void BatchRunner::Run(const Servable& servable, absl::Span<Task* const> tasks) {
  const model::Model& model = servable.model();
  const int64_t rows = TotalRows(tasks);
  tensor::ConstRows x = tasks[0]->x;
  tensor::MutableRows y = tasks[0]->y;
  if (tasks.size() > 1) {
    Reserve(input_, rows * x.width);
    Reserve(output_, rows * y.width);
    float* to = input_.data();
    for (const Task* task : tasks) {
      to = std::copy_n(task->x.data, task->x.rows * task->x.width, to);
    }
    x = {input_.data(), rows, x.width};
    y = {output_.data(), rows, y.width};
  }
  PrepareRoutes(model, rows, AnyWantsMargins(tasks));

  const Clock::time_point start = Clock::now();
  model.Run(x, y, sinks_, context_);
  const int64_t compute_ns = NanosecondsSince(start);

  int64_t first_row = 0;
  for (Task* task : tasks) {
    if (tasks.size() > 1) {
      std::copy_n(y.row(first_row), task->y.rows * task->y.width, task->y.data);
    }
    ScatterRoutes(model, first_row, *task);
    task->timing.compute_ns = compute_ns;
    task->timing.batch_rows = rows;
    first_row += task->x.rows;
  }
  RecordBatch(servable, rows, compute_ns, sinks_);
  Cap(input_);
  Cap(output_);
}

}  // namespace fff::serving

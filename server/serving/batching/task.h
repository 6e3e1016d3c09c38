#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/kernel.h"
#include "server/tensor/float_array.h"
#include "server/tensor/typed_rows.h"

namespace fff::serving {

using Clock = std::chrono::steady_clock;

inline int64_t Nanoseconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

// Where the time of one task went; valid when OnDone is called with OK.
struct TaskTiming {
  int64_t queue_ns = 0;    // Submit to the start of its (first) batch
  int64_t compute_ns = 0;  // arithmetic of the whole batch, or of all batches
  int64_t batch_rows = 0;  // of the batch, or of the largest one
  Clock::time_point computed_at{};  // the last of its arithmetic ended
};

// Among the tasks of one queue, a higher priority goes first.
enum class Priority : uint8_t { kHigh, kNormal, kLow };
inline constexpr size_t kPriorities = 3;

// One request's rows on their way through the queue. The submitter owns the
// task and everything it points to and keeps both alive, unmoved, until OnDone.
class Task {
 public:
  virtual ~Task() = default;

  // Called exactly once for every task that Submit accepted, on a worker's
  // thread or inside Submit (see Scheduler::Submit), outside all locks. The
  // task may be destroyed or reused inside. Codes: OK (y and routes are
  // written), DEADLINE_EXCEEDED, CANCELLED.
  virtual void OnDone(const absl::Status& status) = 0;

  int64_t rows() const { return y.rows; }
  // Cost is counted in tokens: one per row, where rows are no sequences of any
  // length.
  engine::Extent extent() const { return {y.rows, y.rows * tokens}; }
  // The place of the model's output `i`; without data where it is not wanted.
  tensor::MutableRows output(size_t i) const {
    if (i == 0) return y;
    return i <= others.size() ? others[i - 1] : tensor::MutableRows();
  }
  // Of a row of the request: one, one per token, or one per position.
  int64_t outputs_per_row(bool per_token) const {
    if (positions.empty()) return per_token ? tokens : 1;
    return static_cast<int64_t>(positions.size()) / y.rows;
  }

  // One per input of the model, in its order: [rows, elements of a row],
  // integers within the port's limit; an optional one may have no data.
  // Elements take four bytes (graph::Port::type).
  absl::InlinedVector<tensor::TypedRows, 2> inputs;
  // Whether no float of them is NaN or infinite.
  bool finite = true;
  // Of every row, where rows are sequences of any length, else 1.
  int64_t tokens = 1;
  // Empty, or [rows, any number]: whose outputs are wanted, as places of tokens
  // in their row. Of a model with graph::Graph::positions().
  absl::Span<const int32_t> positions;
  // 0: all columns of the output. Else the strongest so many, the strongest
  // first, in y, and which they are in top_ids, shaped as y.
  int64_t top_k = 0;
  int64_t* top_ids = nullptr;
  // Of the model's main output: [rows, elements of a row], of outputs_per_row()
  // times the columns. It has rows, but no data, where it is not wanted.
  tensor::MutableRows y;
  // Likewise of each output behind the main one, all columns; those without
  // data are not wanted. Empty: none is.
  absl::InlinedVector<tensor::MutableRows, 1> others;
  // Empty, or one sink per layer of the model; sinks with null members are
  // skipped. A layer over tokens has a row for each.
  absl::Span<const engine::RouteSink> routes;
  Clock::time_point deadline = Clock::time_point::max();
  Priority priority = Priority::kNormal;
  // May be set by any thread at any time; looked at when the task is dequeued.
  std::atomic<bool> cancelled{false};
  TaskTiming timing;

 private:
  friend class Scheduler;
  friend class BatchQueue;
  friend class BatchRunner;

  // Of a task that is computed in pieces, maybe by several workers at once.
  struct Progress {
    std::atomic<int64_t> rows_left{0};
    std::atomic<int64_t> compute_ns{0};
    std::atomic<int64_t> batch_rows{0};
    std::atomic<int> fate{0};  // of the last piece, a Fate
  };
  Clock::time_point submitted_;
  Progress progress_;
};

// The rows of a task that one batch takes: all of them, unless the task is
// larger than a batch may be.
struct Piece {
  Task* task = nullptr;
  int64_t first_row = 0;
  int64_t rows = 0;

  bool whole() const { return rows == task->rows(); }
  engine::Extent extent() const { return {rows, rows * task->tokens}; }
  tensor::TypedRows input(size_t i) const {
    return task->inputs[i].Slice(first_row, rows);
  }
  // Where its rows of output `i` begin; null where that is not wanted.
  float* output(size_t i) const {
    const tensor::MutableRows y = task->output(i);
    return y.data == nullptr ? nullptr : y.row(first_row);
  }
  int64_t outputs(bool per_token) const {
    return rows * task->outputs_per_row(per_token);
  }
};

}  // namespace fff::serving

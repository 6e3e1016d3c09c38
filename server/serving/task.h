#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/kernel.h"
#include "server/tensor/float_array.h"

namespace fff::serving {

using Clock = std::chrono::steady_clock;

// Where the time of one task went; valid when OnDone is called with OK.
struct TaskTiming {
  int64_t queue_ns = 0;    // Submit to the start of its batch
  int64_t compute_ns = 0;  // arithmetic of the whole batch
  int64_t batch_rows = 0;
};

// One request's rows on their way through the queue. The submitter owns the
// task and everything it points to and keeps both alive, unmoved, until OnDone.
class Task {
 public:
  virtual ~Task() = default;

  // Called exactly once for every task that Submit accepted, on a worker's
  // thread, outside all locks. The task may be destroyed or reused inside.
  // Codes: OK (y and routes are written), DEADLINE_EXCEEDED, CANCELLED,
  // UNAVAILABLE (the scheduler stopped first).
  virtual void OnDone(const absl::Status& status) = 0;

  tensor::ConstRows x;    // [rows, input width], finite
  tensor::MutableRows y;  // [rows, output width]
  // Empty, or one sink a layer of the model; sinks with null members are
  // skipped.
  absl::Span<const engine::RouteSink> routes;
  Clock::time_point deadline = Clock::time_point::max();
  // May be set by any thread at any time; looked at when the task is dequeued.
  std::atomic<bool> cancelled{false};
  TaskTiming timing;

 private:
  friend class Scheduler;
  friend class BatchQueue;
  Clock::time_point submitted_;
};

}  // namespace fff::serving

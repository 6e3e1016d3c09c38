#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "server/serving/task.h"

namespace fff::serving {

struct BatchPolicy {
  int64_t max_batch_rows = 4096;
  std::chrono::microseconds max_queue_delay{0};
};

// When a free worker should take a batch from a non-empty queue: now (<= now)
// or at the returned moment, unless more rows arrive before. Pure. With no
// queue delay always now: a free worker never waits for company, batches form
// only while all workers are busy. Otherwise when the batch is full or its
// oldest task has waited max_queue_delay, and never so late that the earliest
// deadline is missed by waiting.
Clock::time_point DispatchTime(const BatchPolicy& policy, int64_t queued_rows,
                               Clock::time_point oldest_submitted,
                               Clock::time_point earliest_deadline);

// How many of the waiting tasks (their row counts, oldest first) form the next
// batch: as many as fit into max_batch_rows, and at least one, so a task larger
// than the bound runs alone.
size_t BatchSize(const BatchPolicy& policy,
                 absl::Span<const int64_t> task_rows);

}  // namespace fff::serving

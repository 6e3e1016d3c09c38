#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/serving/batching/task.h"

// The decisions about batches, all of them pure.
namespace fff::serving {

struct BatchPolicy {
  int64_t max_batch_rows = 4096;
  std::chrono::microseconds max_queue_delay{0};
  int64_t max_batch_tokens = max_batch_rows;

  engine::Extent max() const { return {max_batch_rows, max_batch_tokens}; }
};

// When a free worker should take a batch from a non-empty queue: now (<= now)
// or at the returned moment, unless more rows arrive before. With no queue
// delay always now: a free worker never waits for company, batches form only
// while all workers are busy. Otherwise when the batch is full or its oldest
// task has waited max_queue_delay, and never so late that the earliest deadline
// is missed by waiting.
Clock::time_point DispatchTime(const BatchPolicy& policy,
                               const engine::Extent& queued,
                               Clock::time_point oldest_submitted,
                               Clock::time_point earliest_deadline);

// How much the next batch of a queue may hold while `idle` other workers have
// nothing to do: an even share of what waits, at most policy.max(). No share
// takes less than half a millisecond, ten times what it takes to wake a worker.
// None has less than 32 tokens, which would mostly read weights. `compute` is
// how long all of it takes one worker, zero when not known. Then, with no idle
// worker, and where the policy waits for full batches, policy.max().
engine::Extent BatchMax(const BatchPolicy& policy, const engine::Extent& queued,
                        int idle, std::chrono::nanoseconds compute);

// How many rows of the task that comes next join a batch that holds `batch` and
// may hold `max`. `task_rows` of it are left, `row_tokens` each. All of them
// join where they fit, else none, so that a task stays whole. Of a task that is
// larger than the batch may be, a batch's worth joins, alone. Never 0 for an
// empty batch: a row is not divided.
int64_t RowsToTake(const engine::Extent& max, const engine::Extent& batch,
                   int64_t task_rows, int64_t row_tokens);

// What becomes of a task that is taken from the queue.
enum class Fate {
  kRun,
  kCancelled,  // its caller has gone
  kExpired,    // its deadline has passed
  kTooLate,    // its deadline is nearer than its computation is long
};
// `compute` is how long its rows take, by themselves; zero when not known.
Fate Judge(bool cancelled, Clock::time_point deadline, Clock::time_point now,
           std::chrono::nanoseconds compute);

// What to tell the submitter; OK for kRun. `begun` when some of its rows were
// computed before.
absl::Status StatusOf(Fate fate, bool begun);

// What is known when a task could run on the thread that submits it.
struct InlineState {
  bool worker_free = false;             // else it would overtake what waits
  bool others_waiting = true;           // for the submitting thread
  std::chrono::nanoseconds compute{0};  // zero when not known
};
// Handing a task to another thread takes some microseconds, and the submitting
// thread has other requests to see to. So a task runs there when it is hardly
// longer than handing it over, or short and the only one.
bool RunsInline(const InlineState& state);

}  // namespace fff::serving

#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "server/serving/batching/admission.h"
#include "server/serving/batching/batch_policy.h"
#include "server/serving/batching/compute_estimate.h"
#include "server/serving/batching/retry_after.h"
#include "server/serving/batching/task.h"

namespace fff::serving {

class Servable;

// What is taken from a queue at once, all of one servable.
struct Batch {
  struct Dropped {
    Piece piece;
    Fate fate;
  };
  std::shared_ptr<const Servable> servable;
  std::vector<Piece> pieces;     // to be computed, at most policy().max()
  std::vector<Dropped> dropped;  // what needs no arithmetic any more

  void Clear();
};

// The tasks that wait for one servable, by priority and oldest first. Not
// thread-safe: the scheduler owns and guards it.
class BatchQueue {
 public:
  BatchQueue(BatchPolicy policy, const engine::Extent& max_queue)
      : policy_(policy), max_queue_(max_queue) {}

  const BatchPolicy& policy() const { return policy_; }
  bool empty() const { return queued_.rows == 0; }
  const engine::Extent& queued() const { return queued_; }
  // Low priority may fill half of the queue only.
  AdmissionState admission(Priority priority = Priority::kNormal) const;

  // The task has one row or more; `servable` is kept alive while it waits.
  void Push(Task* task, std::shared_ptr<const Servable> servable);

  // The queue must not be empty.
  Clock::time_point dispatch_time() const;

  // Moves the next batch, of at most `max` (BatchMax), to `batch`, which is
  // cleared first. Tasks that need no arithmetic any more do not count for its
  // size. The queue must not be empty.
  void PopBatch(Clock::time_point now, const ComputeEstimate& estimate,
                const engine::Extent& max, Batch& batch);

  // Fairness between queues: the moment, in compute time spent on it, at which
  // this queue was last served; see Scheduler.
  int64_t virtual_ns = 0;

  // For those that find the queue full.
  RetrySchedule retries;

 private:
  struct Waiting {
    Task* task;
    std::shared_ptr<const Servable> servable;
    int64_t next_row = 0;  // those before it were taken
  };

  // Moves the front of `lane`, or the part that fits, to `batch`; false when
  // nothing of it fits.
  bool TakeFront(std::deque<Waiting>& lane, Clock::time_point now,
                 const ComputeEstimate& estimate, const engine::Extent& max,
                 Batch& batch);

  const BatchPolicy policy_;
  const engine::Extent max_queue_;
  std::array<std::deque<Waiting>, kPriorities> lanes_;  // a Priority
  engine::Extent queued_;
  engine::Extent batch_;  // that PopBatch is filling
  Clock::time_point earliest_deadline_ = Clock::time_point::max();
};

}  // namespace fff::serving

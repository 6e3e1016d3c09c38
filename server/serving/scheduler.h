#pragma once

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/serving/servable.h"
#include "server/serving/task.h"

namespace fff::serving {

// Worker threads and the queues they serve. Work-conserving: a free worker
// takes the next batch at once (see batch_policy.h); queues with waiting tasks
// take turns, so one busy model, or its dense twin, does not starve another.
// Thread-safe.
class Scheduler {
 public:
  // workers >= 1 threads, each evaluating one batch at a time on one thread.
  explicit Scheduler(int workers);
  // Stops if Stop was not called.
  ~Scheduler();

  // Queues `task` for `servable`, or refuses at once with the Status of Admit
  // (then OnDone is not called). Never blocks on compute.
  absl::Status Submit(const std::shared_ptr<const Servable>& servable,
                      Task* task);

  // Refuses new tasks, finishes those that wait, joins the workers.
  void Stop();

  int workers() const { return workers_; }

 private:
  using Batch = std::vector<BatchQueue::Waiting>;

  void WorkerLoop();
  // Waits for a batch; false when stopped and nothing waits any more.
  bool AwaitBatch(Batch& batch);
  // The position in ready_ of the queue that is due first; `due` is its moment.
  size_t NextDue(Clock::time_point now, Clock::time_point& due) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PopBatch(size_t position, Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int workers_;
  absl::Mutex mutex_;
  absl::CondVar work_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Servables whose queue is not empty, in the order of their turns.
  std::deque<std::shared_ptr<const Servable>> ready_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace fff::serving

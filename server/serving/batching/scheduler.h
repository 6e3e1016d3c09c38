#pragma once

#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/serving/batching/batch_queue.h"
#include "server/serving/batching/batch_runner.h"
#include "server/serving/batching/servable.h"
#include "server/serving/batching/task.h"

namespace fff::serving {

// Worker threads and the queues they serve, one for each servable that has been
// submitted to and still lives. Work-conserving: a free worker takes the next
// batch at once. It takes no more than leaves the other free ones their share,
// where that is worth waking them (see batch_policy.h). Fair: of the queues
// that are due, the one with the least compute time so far goes next. So a busy
// model cannot starve another, nor its own dense twin, however long its batches
// are. Thread-safe.
class Scheduler {
 public:
  // workers >= 1 threads, each evaluating one batch at a time on one thread.
  explicit Scheduler(int workers);
  // Stops if Stop was not called.
  ~Scheduler();

  // The submitting thread's offer to run a small task by itself.
  struct InlineOffer {
    BatchRunner* runner = nullptr;  // of the submitting thread; null = no offer
    bool others_waiting = true;     // for that thread
  };

  // Queues `task` for `servable`, or refuses at once with the Status of Admit
  // (then OnDone is not called). With an offer, a task that is small enough
  // while a worker is free (RunsInline) is run and told OnDone before Submit
  // returns. Never blocks on compute otherwise. `now` is for callers that have
  // just read the clock.
  absl::Status Submit(const std::shared_ptr<const Servable>& servable,
                      Task* task, const InlineOffer& offer,
                      Clock::time_point now = Clock::now());
  absl::Status Submit(const std::shared_ptr<const Servable>& servable,
                      Task* task) {
    return Submit(servable, task, InlineOffer());
  }

  // Refuses new tasks, finishes those that wait, joins the workers.
  void Stop();

  int workers() const { return workers_; }
  int idle_workers() const;
  // How many servables have a queue, dead ones included.
  size_t queues() const;

 private:
  struct Queue {
    Queue(const std::shared_ptr<const Servable>& servable_in,
          const BatchPolicy& policy, const engine::Extent& max_queue)
        : servable(servable_in), tasks(policy, max_queue) {}

    const std::weak_ptr<const Servable> servable;
    BatchQueue tasks;
  };

  // Of `servable`, made when there is none; drops those of the dead then.
  Queue& QueueOf(const std::shared_ptr<const Servable>& servable)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WorkerLoop();
  // Waits for a batch; false when stopped and nothing waits any more.
  bool AwaitBatch(Batch& batch);
  // The position in ready_ of the queue to serve, or of the one that is due
  // first; `due` is its moment.
  size_t NextDue(Clock::time_point now, Clock::time_point& due) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // How many other workers may take a part of `waiting` rows of `servable`.
  int WorkersToShareWith(const Servable& servable, int64_t waiting) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PopBatch(size_t position, Clock::time_point now, Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Records what is known when a batch was taken.
  static void Begin(const Batch& batch, Clock::time_point start);
  // Tells the piece's task when it was the last of it.
  static void Settle(const Piece& piece, Fate fate);
  absl::Status AdmitTask(const Servable& servable, BatchQueue& queue,
                         const Task& task, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int workers_;
  mutable absl::Mutex mutex_;
  absl::CondVar work_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int free_workers_ ABSL_GUARDED_BY(mutex_) = 0;
  // A queue outlives its last task, because it remembers what it was charged;
  // it goes some time after its servable.
  std::unordered_map<const Servable*, Queue> queues_ ABSL_GUARDED_BY(mutex_);
  // Those that are not empty; their tasks keep the servable.
  std::vector<Queue*> ready_ ABSL_GUARDED_BY(mutex_);
  // The virtual time of the queue that was served last: a queue that was empty
  // goes on from here, so that it saves up no claim.
  int64_t virtual_now_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> threads_;
};

}  // namespace fff::serving

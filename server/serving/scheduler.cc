#include "server/serving/scheduler.h"

#include <algorithm>

#include "absl/time/time.h"
#include "server/base/status_macros.h"
#include "server/serving/batch_runner.h"

namespace fff::serving {
namespace {

// Tells the submitters of tasks that need no arithmetic any more and returns
// the others. Both checks come before compute: a task whose caller has gone, or
// gave up waiting, costs nothing.
std::vector<Task*> DropDead(absl::Span<const BatchQueue::Waiting> batch,
                            Clock::time_point now) {
  std::vector<Task*> alive;
  alive.reserve(batch.size());
  for (const BatchQueue::Waiting& waiting : batch) {
    if (waiting.task->cancelled.load(std::memory_order_relaxed)) {
      waiting.task->OnDone(absl::CancelledError(
          "cancelled while waiting; nothing was computed"));
    } else if (now >= waiting.task->deadline) {
      waiting.task->OnDone(absl::DeadlineExceededError(
          "the deadline passed while waiting; nothing was computed"));
    } else {
      alive.push_back(waiting.task);
    }
  }
  return alive;
}

}  // namespace

Scheduler::Scheduler(int workers) : workers_(std::max(1, workers)) {
  threads_.reserve(static_cast<size_t>(workers_));
  for (int i = 0; i < workers_; ++i) {
    threads_.emplace_back([this] { WorkerLoop(); });
  }
}

Scheduler::~Scheduler() { Stop(); }

absl::Status Scheduler::Submit(const std::shared_ptr<const Servable>& servable,
                               Task* task) {
  const Clock::time_point now = Clock::now();
  absl::MutexLock lock(&mutex_);
  BatchQueue& queue = servable->queue();
  AdmissionState state = queue.admission();
  state.stopping = stopping_;
  FFF_RETURN_IF_ERROR(base::Annotate(
      Admit(state, task->x.rows, task->deadline, now), servable->Describe()));
  task->submitted_ = now;
  const bool was_empty = queue.empty();
  queue.Push({task, servable});
  servable->metrics().queue_rows.Add(task->x.rows);
  if (was_empty) ready_.push_back(servable);
  work_.Signal();
  return absl::OkStatus();
}

void Scheduler::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    work_.SignalAll();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

size_t Scheduler::NextDue(Clock::time_point now, Clock::time_point& due) const {
  size_t best = 0;
  due = Clock::time_point::max();
  for (size_t i = 0; i < ready_.size(); ++i) {
    const Clock::time_point at = ready_[i]->queue().dispatch_time();
    if (at < due) {
      due = at;
      best = i;
    }
    if (at <= now) break;  // the first in turn that is due
  }
  return best;
}

void Scheduler::PopBatch(size_t position, Batch& batch) {
  std::shared_ptr<const Servable> servable = std::move(ready_[position]);
  ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(position));
  BatchQueue& queue = servable->queue();
  queue.PopBatch(batch);
  if (queue.empty()) return;
  ready_.push_back(std::move(servable));
  work_.Signal();  // another worker may be free
}

bool Scheduler::AwaitBatch(Batch& batch) {
  absl::MutexLock lock(&mutex_);
  while (true) {
    if (ready_.empty()) {
      if (stopping_) return false;
      work_.Wait(&mutex_);
      continue;
    }
    const Clock::time_point now = Clock::now();
    Clock::time_point due;
    const size_t position = NextDue(now, due);
    if (due <= now || stopping_) {
      PopBatch(position, batch);
      return true;
    }
    work_.WaitWithTimeout(&mutex_, absl::FromChrono(due - now));
  }
}

void Scheduler::WorkerLoop() {
  BatchRunner runner(/*threads=*/1);
  Batch batch;
  while (AwaitBatch(batch)) {
    const std::shared_ptr<const Servable> servable = batch.front().servable;
    metrics::ModelMetrics& metrics = servable->metrics();
    const Clock::time_point start = Clock::now();
    for (BatchQueue::Waiting& waiting : batch) {
      Task& task = *waiting.task;
      task.timing.queue_ns =
          std::chrono::duration_cast<std::chrono::nanoseconds>(start -
                                                               task.submitted_)
              .count();
      metrics.queue_rows.Add(-task.x.rows);
      metrics.queue_duration.Observe(
          static_cast<uint64_t>(task.timing.queue_ns));
    }
    const std::vector<Task*> alive = DropDead(batch, start);
    if (!alive.empty()) runner.Run(*servable, alive);
    for (Task* task : alive) task->OnDone(absl::OkStatus());
    batch.clear();  // lets go of the servable before the next wait
  }
}

}  // namespace fff::serving

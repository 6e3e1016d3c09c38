#include "server/serving/batching/batch_queue.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"

namespace fff::serving {

void Batch::Clear() {
  servable.reset();
  pieces.clear();
  dropped.clear();
}

AdmissionState BatchQueue::admission(Priority priority) const {
  AdmissionState state;
  state.queued = queued_;
  state.max_queue = max_queue_;
  if (priority == Priority::kLow) {
    state.max_queue = {max_queue_.rows / 2, max_queue_.tokens / 2};
  }
  return state;
}

void BatchQueue::Push(Task* task, std::shared_ptr<const Servable> servable) {
  FFF_CHECK(task->rows() > 0 && task->tokens > 0);
  queued_.rows += task->rows();
  queued_.tokens += task->extent().tokens;
  earliest_deadline_ = std::min(earliest_deadline_, task->deadline);
  lanes_[static_cast<size_t>(task->priority)].push_back(
      {task, std::move(servable), 0});
}

Clock::time_point BatchQueue::dispatch_time() const {
  FFF_CHECK(!empty());
  Clock::time_point oldest = Clock::time_point::max();
  for (const std::deque<Waiting>& lane : lanes_) {
    if (!lane.empty()) oldest = std::min(oldest, lane.front().task->submitted_);
  }
  return DispatchTime(policy_, queued_, oldest, earliest_deadline_);
}

bool BatchQueue::TakeFront(std::deque<Waiting>& lane, Clock::time_point now,
                           const ComputeEstimate& estimate,
                           const engine::Extent& max, Batch& batch) {
  Waiting& front = lane.front();
  Task& task = *front.task;
  const int64_t left = task.rows() - front.next_row;
  // Where `max` is a share, others take the rest at the same time.
  const int64_t alone = max.tokens < policy_.max_batch_tokens
                            ? std::min(left * task.tokens, max.tokens)
                            : left * task.tokens;
  const Fate fate =
      Judge(task.cancelled.load(std::memory_order_relaxed), task.deadline, now,
            std::chrono::nanoseconds(estimate.Nanoseconds(alone)));
  int64_t rows = left;
  if (fate == Fate::kRun) {
    rows = RowsToTake(max, batch_, left, task.tokens);
    if (rows == 0) return false;
    batch_.rows += rows;
    batch_.tokens += rows * task.tokens;
    batch.pieces.push_back({&task, front.next_row, rows});
  } else {
    batch.dropped.push_back({{&task, front.next_row, rows}, fate});
  }
  if (front.next_row == 0 && rows < left) {
    task.progress_.rows_left.store(left, std::memory_order_relaxed);
    task.progress_.compute_ns.store(0, std::memory_order_relaxed);
    task.progress_.batch_rows.store(0, std::memory_order_relaxed);
    task.progress_.fate.store(0, std::memory_order_relaxed);
  }
  queued_.rows -= rows;
  queued_.tokens -= rows * task.tokens;
  FFF_CHECK(queued_.rows >= 0 && queued_.tokens >= queued_.rows);
  if (rows < left) {
    front.next_row += rows;
    batch.servable = front.servable;
  } else {
    batch.servable = std::move(front.servable);
    lane.pop_front();
  }
  return true;
}

void BatchQueue::PopBatch(Clock::time_point now,
                          const ComputeEstimate& estimate,
                          const engine::Extent& max, Batch& batch) {
  FFF_CHECK(!empty() && max.rows > 0 && max.tokens > 0);
  batch.Clear();
  batch_ = {};
  const auto fill = [&] {
    for (std::deque<Waiting>& lane : lanes_) {
      while (!lane.empty()) {
        if (!TakeFront(lane, now, estimate, max, batch)) return;
        if (batch_.rows >= max.rows || batch_.tokens >= max.tokens) return;
      }
    }
  };
  fill();
  earliest_deadline_ = Clock::time_point::max();
  if (policy_.max_queue_delay.count() == 0) return;  // nothing waits for it
  for (const std::deque<Waiting>& lane : lanes_) {
    for (const Waiting& waiting : lane) {
      earliest_deadline_ = std::min(earliest_deadline_, waiting.task->deadline);
    }
  }
}

}  // namespace fff::serving

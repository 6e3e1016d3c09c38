#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "server/serving/admission.h"
#include "server/serving/batch_policy.h"
#include "server/serving/task.h"

namespace fff::serving {

class Servable;

// The tasks that wait for one servable, oldest first. Not thread-safe: the
// scheduler guards it.
class BatchQueue {
 public:
  struct Waiting {
    Task* task;
    std::shared_ptr<const Servable> servable;  // kept alive while it waits
  };

  BatchQueue(BatchPolicy policy, int64_t max_queue_rows)
      : policy_(policy), max_queue_rows_(max_queue_rows) {}

  bool empty() const { return waiting_.empty(); }
  AdmissionState admission() const {
    return {queued_rows_, max_queue_rows_, false};
  }

  void Push(Waiting waiting) {
    queued_rows_ += waiting.task->x.rows;
    earliest_deadline_ = std::min(earliest_deadline_, waiting.task->deadline);
    waiting_.push_back(std::move(waiting));
  }

  // The queue must not be empty.
  Clock::time_point dispatch_time() const {
    return DispatchTime(policy_, queued_rows_,
                        waiting_.front().task->submitted_, earliest_deadline_);
  }

  // Moves the next batch to `batch` (cleared first). The queue must not be
  // empty.
  void PopBatch(std::vector<Waiting>& batch) {
    task_rows_.clear();
    int64_t rows = 0;
    for (const Waiting& waiting : waiting_) {
      task_rows_.push_back(waiting.task->x.rows);
      rows += task_rows_.back();
      if (rows > policy_.max_batch_rows) break;  // BatchSize needs no more
    }
    batch.clear();
    for (size_t n = BatchSize(policy_, task_rows_); n > 0; --n) {
      queued_rows_ -= waiting_.front().task->x.rows;
      batch.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    earliest_deadline_ = Clock::time_point::max();
    if (policy_.max_queue_delay.count() == 0) return;  // nothing waits for it
    for (const Waiting& waiting : waiting_) {
      earliest_deadline_ = std::min(earliest_deadline_, waiting.task->deadline);
    }
  }

 private:
  const BatchPolicy policy_;
  const int64_t max_queue_rows_;
  std::deque<Waiting> waiting_;
  int64_t queued_rows_ = 0;
  Clock::time_point earliest_deadline_ = Clock::time_point::max();
  std::vector<int64_t> task_rows_;  // scratch of PopBatch
};

}  // namespace fff::serving

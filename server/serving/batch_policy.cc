#include "server/serving/batch_policy.h"

#include <algorithm>

namespace fff::serving {

Clock::time_point DispatchTime(const BatchPolicy& policy, int64_t queued_rows,
                               Clock::time_point oldest_submitted,
                               Clock::time_point earliest_deadline) {
  if (policy.max_queue_delay.count() == 0 ||
      queued_rows >= policy.max_batch_rows) {
    return oldest_submitted;
  }
  const Clock::time_point ripe = oldest_submitted + policy.max_queue_delay;
  // Half of what is left to the deadline goes to waiting at most; the other
  // half is for the arithmetic and the way back.
  if (earliest_deadline < Clock::time_point::max()) {
    return std::min(
        ripe, oldest_submitted + (earliest_deadline - oldest_submitted) / 2);
  }
  return ripe;
}

size_t BatchSize(const BatchPolicy& policy,
                 absl::Span<const int64_t> task_rows) {
  int64_t rows = 0;
  for (size_t i = 0; i < task_rows.size(); ++i) {
    rows += task_rows[i];
    if (rows > policy.max_batch_rows) return std::max<size_t>(i, 1);
  }
  return task_rows.size();
}

}  // namespace fff::serving

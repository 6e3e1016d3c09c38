#include "server/serving/batching/batch_policy.h"

#include <algorithm>

namespace fff::serving {
namespace {

constexpr std::chrono::microseconds kShareMin(500);
// Below this a share reads weights for longer than it multiplies, and all
// shares read them from the same memory. A core that multiplies 113 GFLOP/s and
// reads 27 GB/s (Zen 4) breaks even at 8 rows, two that share the memory at 17.
constexpr int64_t kShareRowsMin = 32;
constexpr std::chrono::microseconds kInlineMax(8);
constexpr std::chrono::microseconds kInlineAloneMax(100);

}  // namespace

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

int64_t BatchRowsMax(const BatchPolicy& policy, int64_t queued_rows, int idle,
                     std::chrono::nanoseconds compute) {
  // What a share left behind would begin to wait anew.
  if (policy.max_queue_delay.count() > 0) return policy.max_batch_rows;
  const int64_t shares =
      std::min({int64_t{idle} + 1, int64_t{compute / kShareMin},
                queued_rows / kShareRowsMin});
  if (shares <= 1) return policy.max_batch_rows;
  return std::min(policy.max_batch_rows, (queued_rows + shares - 1) / shares);
}

int64_t RowsToTake(int64_t rows_max, int64_t batch_rows, int64_t task_rows) {
  if (task_rows <= rows_max - batch_rows) return task_rows;
  return batch_rows == 0 ? rows_max : 0;
}

Fate Judge(bool cancelled, Clock::time_point deadline, Clock::time_point now,
           std::chrono::nanoseconds compute) {
  if (cancelled) return Fate::kCancelled;
  if (now >= deadline) return Fate::kExpired;
  return deadline - now < compute ? Fate::kTooLate : Fate::kRun;
}

absl::Status StatusOf(Fate fate, bool begun) {
  switch (fate) {
    case Fate::kRun:
      break;
    case Fate::kCancelled:
      return absl::CancelledError(
          begun ? "cancelled before all rows were computed"
                : "cancelled while waiting; nothing was computed");
    case Fate::kExpired:
      return absl::DeadlineExceededError(
          begun ? "the deadline passed before all rows were computed"
                : "the deadline passed while waiting; nothing was computed");
    case Fate::kTooLate:
      return absl::DeadlineExceededError(
          begun ? "the deadline is nearer than the rest of the rows take"
                : "the deadline is nearer than the computation takes; nothing "
                  "was computed");
  }
  return absl::OkStatus();
}

bool RunsInline(const InlineState& state) {
  if (!state.worker_free || state.compute.count() == 0) return false;
  return state.compute <= (state.others_waiting ? kInlineMax : kInlineAloneMax);
}

}  // namespace fff::serving

#include "server/serving/batching/batch_policy.h"

#include <algorithm>

namespace fff::serving {
namespace {

constexpr std::chrono::microseconds kShareMin(500);
// Below this a share reads weights for longer than it multiplies, and all
// shares read them from the same memory. A core that multiplies 113 GFLOP/s and
// reads 27 GB/s (Zen 4) breaks even at 8 rows, two that share the memory at 17.
constexpr int64_t kShareTokensMin = 32;
constexpr std::chrono::microseconds kInlineMax(8);
constexpr std::chrono::microseconds kInlineAloneMax(100);

}  // namespace

Clock::time_point DispatchTime(const BatchPolicy& policy,
                               const engine::Extent& queued,
                               Clock::time_point oldest_submitted,
                               Clock::time_point earliest_deadline) {
  if (policy.max_queue_delay.count() == 0 ||
      queued.rows >= policy.max_batch_rows ||
      queued.tokens >= policy.max_batch_tokens) {
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

engine::Extent BatchMax(const BatchPolicy& policy, const engine::Extent& queued,
                        int idle, std::chrono::nanoseconds compute) {
  // What a share left behind would begin to wait anew.
  if (policy.max_queue_delay.count() > 0) return policy.max();
  const int64_t shares =
      std::min({int64_t{idle} + 1, int64_t{compute / kShareMin},
                queued.tokens / kShareTokensMin});
  engine::Extent max = policy.max();
  if (shares > 1) {
    max.tokens = std::min(max.tokens, (queued.tokens + shares - 1) / shares);
  }
  return max;
}

int64_t RowsToTake(const engine::Extent& max, const engine::Extent& batch,
                   int64_t task_rows, int64_t row_tokens) {
  const int64_t fit =
      std::min(max.rows - batch.rows, (max.tokens - batch.tokens) / row_tokens);
  if (task_rows <= fit) return task_rows;
  return batch.rows == 0 ? std::max<int64_t>(fit, 1) : 0;
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

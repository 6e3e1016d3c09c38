#include "server/serving/admission.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/serving/retry_after.h"

namespace fff::serving {

absl::Status Admit(const AdmissionState& state, int64_t rows,
                   Clock::time_point deadline, Clock::time_point now) {
  if (state.stopping) {
    return absl::UnavailableError("the server is shutting down");
  }
  if (now >= deadline) {
    return absl::DeadlineExceededError(
        "the deadline had passed when the request arrived; nothing was "
        "computed");
  }
  if (state.queued_rows > 0 &&
      rows > state.max_queue_rows - state.queued_rows) {
    absl::Status full = absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full: ", state.queued_rows,
        " rows wait, the request has ", rows, ", max_queue_rows is ",
        state.max_queue_rows, "; retry later"));
    SetRetryAfter(RetryDelay(state.drain, state.refusals), full);
    return full;
  }
  return absl::OkStatus();
}

std::chrono::milliseconds RetryDelay(std::chrono::nanoseconds drain,
                                     uint64_t refusals) {
  constexpr std::chrono::nanoseconds kMin = std::chrono::milliseconds(1);
  constexpr std::chrono::nanoseconds kMax = std::chrono::seconds(10);
  constexpr uint64_t kSteps = 16;
  const std::chrono::nanoseconds delay = std::clamp(drain, kMin, kMax);
  const auto step = static_cast<int64_t>(refusals % kSteps);
  return std::chrono::ceil<std::chrono::milliseconds>(
      delay + delay * step / static_cast<int64_t>(kSteps));
}

}  // namespace fff::serving

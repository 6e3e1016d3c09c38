#include "server/serving/batching/admission.h"

#include "absl/strings/str_cat.h"

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
    return absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full: ", state.queued_rows,
        " rows wait, the request has ", rows, ", max_queue_rows is ",
        state.max_queue_rows, "; retry later"));
  }
  return absl::OkStatus();
}

}  // namespace fff::serving

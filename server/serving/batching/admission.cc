#include "server/serving/batching/admission.h"

#include "absl/strings/str_cat.h"

namespace fff::serving {
namespace {

absl::Status Full(absl::string_view what, int64_t queued, int64_t request,
                  int64_t max) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "the queue is full: ", queued, " ", what, " wait, the request has ",
      request, ", max_queue_", what, " is ", max, "; retry later"));
}

}  // namespace

absl::Status Admit(const AdmissionState& state, const engine::Extent& request,
                   Clock::time_point deadline, Clock::time_point now) {
  if (state.stopping) {
    return absl::UnavailableError("the server is shutting down");
  }
  if (now >= deadline) {
    return absl::DeadlineExceededError(
        "the deadline had passed when the request arrived; nothing was "
        "computed");
  }
  const engine::Extent& queued = state.queued;
  if (queued.rows == 0) return absl::OkStatus();
  if (request.rows > state.max_queue.rows - queued.rows) {
    return Full("rows", queued.rows, request.rows, state.max_queue.rows);
  }
  if (request.tokens > state.max_queue.tokens - queued.tokens) {
    return Full("tokens", queued.tokens, request.tokens,
                state.max_queue.tokens);
  }
  return absl::OkStatus();
}

}  // namespace fff::serving

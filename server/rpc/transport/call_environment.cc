#include "server/rpc/transport/call_environment.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "server/serving/batching/retry_after.h"

namespace fff::rpc {

absl::Status StoppingError() {
  return absl::UnavailableError(
      "the server is shutting down; retry on another one");
}

absl::Status RefusalAnswer(const CallEnvironment& environment,
                           const absl::Status& refusal) {
  if (!environment.overload_is_unavailable ||
      !absl::IsResourceExhausted(refusal)) {
    return refusal;
  }
  absl::Status answer = absl::UnavailableError(refusal.message());
  const auto delay = serving::RetryAfter(refusal);
  if (delay.has_value()) serving::SetRetryAfter(*delay, answer);
  return answer;
}

absl::Status MemoryError(const serving::MemoryBudget& memory, int64_t bytes) {
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
      "the memory for requests is full: ", memory.used(), " bytes of ",
      memory.bytes_max(), " are in use, the request needs ", bytes,
      " more; retry later"));
  // Nobody knows when a client will read; it is no matter of a millisecond.
  serving::SetRetryAfter(std::chrono::milliseconds(100), status);
  return status;
}

}  // namespace fff::rpc

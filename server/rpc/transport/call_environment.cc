#include "server/rpc/transport/call_environment.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "server/serving/batching/retry_after.h"

namespace fff::rpc {

absl::Status StoppingError() {
  return absl::UnavailableError(
      "the server is shutting down; retry on another one");
}

absl::Status CheckMetadata(const CallEnvironment& environment,
                           const CallDetails& details) {
  if (details.metadata_bytes <= environment.metadata_bytes_max) {
    return absl::OkStatus();
  }
  environment.metrics->AddMetadataRefused();
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("got ", details.metadata_bytes,
                   " bytes of metadata (names, values and 32 bytes each), "
                   "wanted at most ",
                   environment.metadata_bytes_max, " (--max-metadata-bytes)"));
  serving::SetRetryAfter(serving::kNeverRetry, status);
  return status;
}

absl::Status RefusalAnswer(const CallEnvironment& environment,
                           const absl::Status& refusal) {
  const auto delay = serving::RetryAfter(refusal);
  if (!environment.overload_is_unavailable ||
      !absl::IsResourceExhausted(refusal) || delay == serving::kNeverRetry) {
    return refusal;
  }
  absl::Status answer = absl::UnavailableError(refusal.message());
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

#include "server/serving/retry_after.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fff::serving {
namespace {

constexpr char kPayload[] = "fff/retry-after-ms";

}  // namespace

void SetRetryAfter(std::chrono::milliseconds delay, absl::Status& status) {
  status.SetPayload(kPayload, absl::Cord(absl::StrCat(delay.count())));
}

std::optional<std::chrono::milliseconds> RetryAfter(
    const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  int64_t ms = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &ms)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(ms);
}

}  // namespace fff::serving

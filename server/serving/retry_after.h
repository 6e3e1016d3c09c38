#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"

namespace fff::serving {

// How long whoever was refused should wait before another try, carried by the
// Status as a payload.
void SetRetryAfter(std::chrono::milliseconds delay, absl::Status& status);
// Nothing when the Status carries none.
std::optional<std::chrono::milliseconds> RetryAfter(const absl::Status& status);

}  // namespace fff::serving

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/serving/task.h"

namespace fff::serving {

// What the decision needs to know of the queue a request wants to enter.
struct AdmissionState {
  int64_t queued_rows = 0;
  int64_t max_queue_rows = 0;
  bool stopping = false;
  // How long the rows that wait will take; zero when not known.
  std::chrono::nanoseconds drain{0};
  uint64_t refusals = 0;  // so far
};

// May a request of `rows` rows enter? Pure. UNAVAILABLE when stopping,
// DEADLINE_EXCEEDED when `deadline` has passed, RESOURCE_EXHAUSTED when the
// queue would hold more than its bound, with the time after which to try again
// (retry_after.h); a request that is larger than the bound by itself is let
// into an empty queue, so that it can be served at all.
absl::Status Admit(const AdmissionState& state, int64_t rows,
                   Clock::time_point deadline, Clock::time_point now);

// When to try again where what is in the way takes `drain`: that long, within
// bounds, and up to as long again for every other one of those refused, so that
// they do not all come back at once. `refusals` counts them.
std::chrono::milliseconds RetryDelay(std::chrono::nanoseconds drain,
                                     uint64_t refusals);

}  // namespace fff::serving

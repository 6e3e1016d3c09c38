#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "server/serving/batching/task.h"

namespace fff::serving {

// The delay of what will be refused at every try. gRPC's clients take a
// negative one to mean so, too.
inline constexpr std::chrono::milliseconds kNeverRetry(-1);

// How long whoever was refused should wait before another try, carried by the
// Status as a payload.
void SetRetryAfter(std::chrono::milliseconds delay, absl::Status& status);
// Nothing when the Status carries none.
std::optional<std::chrono::milliseconds> RetryAfter(const absl::Status& status);

// When those who found a queue full should come back: one after the other, at
// the pace at which the queue can take them. A hint of only what waits now
// brings all of them back at once, and most to be refused again. For one queue,
// which owns it.
class RetrySchedule {
 public:
  // `drain`: how long the work in the queue will take; `work`: how long that of
  // the refused request would. Zero where it is not known. 1 ms to 10 s, in
  // whole milliseconds.
  std::chrono::milliseconds Next(Clock::time_point now,
                                 std::chrono::nanoseconds drain,
                                 std::chrono::nanoseconds work);

 private:
  Clock::time_point next_;  // where the next one goes, when that is to come
};

}  // namespace fff::serving

#pragma once

#include "absl/status/status.h"
#include "server/engine/kernel.h"
#include "server/serving/batching/task.h"

namespace fff::serving {

// What the decision needs to know of the queue a request wants to enter.
struct AdmissionState {
  engine::Extent queued;
  engine::Extent max_queue;
  bool stopping = false;
};

// May a request of that many rows and tokens enter? Pure. UNAVAILABLE when
// stopping. DEADLINE_EXCEEDED when `deadline` has passed. RESOURCE_EXHAUSTED
// when the queue would hold more than its bound. A request that is larger than
// the bound by itself is let into an empty queue, so that it can be served at
// all.
absl::Status Admit(const AdmissionState& state, const engine::Extent& request,
                   Clock::time_point deadline, Clock::time_point now);

}  // namespace fff::serving

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/base/trace_ids.h"

namespace fff::metrics {

// One observation of a histogram with the trace that shows more of it.
struct Exemplar {
  base::TraceIds trace;
  uint64_t value = 0;   // as it was observed
  int64_t unix_ms = 0;  // 0 = there is none
};

// The latest exemplar of each bucket of one histogram. Any thread may record;
// nobody waits.
class Exemplars {
 public:
  // Lost when another thread records, or a scrape reads, at the same moment.
  void Record(size_t bucket, const Exemplar& exemplar);
  // One per bucket, as far as any was recorded.
  std::vector<Exemplar> Snapshot() const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<Exemplar> latest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::metrics

#include "server/metrics/exemplars.h"

namespace fff::metrics {

void Exemplars::Record(size_t bucket, const Exemplar& exemplar) {
  if (!mutex_.TryLock()) return;
  if (bucket >= latest_.size()) latest_.resize(bucket + 1);
  latest_[bucket] = exemplar;
  mutex_.Unlock();
}

std::vector<Exemplar> Exemplars::Snapshot() const {
  absl::MutexLock lock(&mutex_);
  return latest_;
}

}  // namespace fff::metrics

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/metrics/server_metrics.h"

namespace fff::metrics {

// Of how many implementations a past is kept, and of how many seconds.
inline constexpr size_t kHistorySeriesMax = 128;
inline constexpr absl::Duration kHistoryLength = absl::Seconds(60);

// What one implementation did between two moments.
struct HistoryStep {
  absl::Time begin;
  absl::Time end;
  std::array<uint64_t, kStatusCodes> codes{};  // requests, by gRPC's code
  std::vector<uint64_t> durations;   // of requests, by DurationBoundsNs
  std::vector<uint64_t> batch_rows;  // batches, by RowBounds
  std::vector<SizeCost> costs;       // of batches, by RowBounds
  uint64_t duration_ns = 0;          // of all requests
  uint64_t compute_ns = 0;           // of all batches
  uint64_t rows = 0;
};

struct HistorySeries {
  ModelLabels labels;
  std::vector<HistoryStep> steps;  // oldest first, none in which nothing was
};

struct HistoryView {
  std::vector<absl::Time> samples;  // when they were taken, oldest first
  std::vector<HistorySeries> series;
};

// The last minute of the served implementations, so that a page that is opened
// shows it at once. Someone calls Sample about once per second; recorders are
// only read, and pay nothing. A second without requests takes no memory, a busy
// one 16 bytes per counter that grew: 24 KiB per busy implementation with 25 of
// them. Implementations beyond kHistorySeriesMax are left out. Thread-safe.
class History {
 public:
  // `metrics` outlives this.
  explicit History(const ServerMetrics* metrics) : metrics_(metrics) {}

  void Sample(absl::Time now);
  // With a last step since the last sample. Steps older than kHistoryLength are
  // gone.
  HistoryView Last(absl::Time now) const;

 private:
  // Of a counter of the flat list, by how much it grew.
  struct Growth {
    uint32_t counter;
    uint64_t by;
  };
  struct Step {
    absl::Time begin;
    absl::Time end;
    std::vector<Growth> growths;
  };
  struct Series {
    std::shared_ptr<ModelMetrics> metrics;
    std::vector<uint64_t> counters;  // at the last sample
    std::deque<Step> steps;
  };

  static std::vector<Growth> Grown(const std::vector<uint64_t>& before,
                                   const std::vector<uint64_t>& after);
  static HistoryStep Read(const Step& step);
  // Keeps those that are served, with their past; new ones begin now.
  void Follow(const ServerMetrics::Snapshot& snapshot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ServerMetrics* const metrics_;
  mutable absl::Mutex mutex_;
  std::deque<absl::Time> samples_ ABSL_GUARDED_BY(mutex_);
  std::vector<Series> series_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::metrics

#include "server/metrics/history.h"

#include <algorithm>
#include <utility>

namespace fff::metrics {
namespace {

// Where what stands in the flat list of an implementation's counters.
size_t Durations() { return DurationBoundsNs().size() + 1; }
size_t Sizes() { return RowBounds().size() + 1; }
constexpr size_t kCodesAt = 0;
constexpr size_t kDurationNsAt = kCodesAt + kStatusCodes;
constexpr size_t kComputeNsAt = kDurationNsAt + 1;
constexpr size_t kRowsAt = kComputeNsAt + 1;
constexpr size_t kDurationsAt = kRowsAt + 1;
size_t BatchesAt() { return kDurationsAt + Durations(); }
size_t CostRowsAt() { return BatchesAt() + Sizes(); }
size_t CostNsAt() { return CostRowsAt() + Sizes(); }
size_t Counters() { return CostNsAt() + Sizes(); }

std::vector<uint64_t> Count(const ModelMetrics& metrics) {
  std::vector<uint64_t> counters(Counters());
  for (size_t m = 0; m < kMethods; ++m) {
    for (size_t c = 0; c < kStatusCodes; ++c) {
      counters[kCodesAt + c] += metrics.requests[m][c].Value();
    }
    const HistogramSnapshot durations = metrics.request_duration[m].Snapshot();
    counters[kDurationNsAt] += durations.sum;
    for (size_t b = 0; b < durations.counts.size(); ++b) {
      counters[kDurationsAt + b] += durations.counts[b];
    }
  }
  counters[kComputeNsAt] = metrics.compute_duration.Snapshot().sum;
  counters[kRowsAt] = metrics.rows.Value();
  const HistogramSnapshot batches = metrics.batch_rows.Snapshot();
  std::copy(batches.counts.begin(), batches.counts.end(),
            counters.begin() + static_cast<std::ptrdiff_t>(BatchesAt()));
  const std::vector<SizeCost> costs = metrics.batch_costs.Snapshot();
  for (size_t b = 0; b < costs.size(); ++b) {
    counters[CostRowsAt() + b] = costs[b].rows;
    counters[CostNsAt() + b] = costs[b].compute_ns;
  }
  return counters;
}

}  // namespace

std::vector<History::Growth> History::Grown(
    const std::vector<uint64_t>& before, const std::vector<uint64_t>& after) {
  std::vector<Growth> growths;
  for (size_t i = 0; i < after.size(); ++i) {
    if (after[i] <= before[i]) continue;
    growths.push_back({static_cast<uint32_t>(i), after[i] - before[i]});
  }
  return growths;
}

HistoryStep History::Read(const Step& step) {
  std::vector<uint64_t> grown(Counters());
  for (const Growth& growth : step.growths) grown[growth.counter] = growth.by;
  const auto part = [&grown](size_t at, size_t count) {
    const auto begin = grown.begin() + static_cast<std::ptrdiff_t>(at);
    return std::vector<uint64_t>(begin,
                                 begin + static_cast<std::ptrdiff_t>(count));
  };
  HistoryStep read;
  read.begin = step.begin;
  read.end = step.end;
  std::copy_n(grown.begin() + kCodesAt, kStatusCodes, read.codes.begin());
  read.durations = part(kDurationsAt, Durations());
  read.batch_rows = part(BatchesAt(), Sizes());
  read.duration_ns = grown[kDurationNsAt];
  read.compute_ns = grown[kComputeNsAt];
  read.rows = grown[kRowsAt];
  for (size_t b = 0; b < Sizes(); ++b) {
    read.costs.push_back({grown[CostRowsAt() + b], grown[CostNsAt() + b]});
  }
  return read;
}

void History::Follow(const ServerMetrics::Snapshot& snapshot) {
  std::vector<Series> followed;
  for (const ServerMetrics::Served& served : snapshot.served) {
    if (!served.loaded || followed.size() == kHistorySeriesMax) continue;
    const auto known = std::find_if(series_.begin(), series_.end(),
                                    [&served](const Series& series) {
                                      return series.metrics == served.metrics;
                                    });
    if (known != series_.end()) {
      followed.push_back(std::move(*known));
    } else {
      followed.push_back({served.metrics, Count(*served.metrics), {}});
    }
  }
  series_ = std::move(followed);
}

void History::Sample(absl::Time now) {
  const ServerMetrics::Snapshot snapshot = metrics_->TakeSnapshot();
  absl::MutexLock lock(&mutex_);
  Follow(snapshot);
  for (Series& series : series_) {
    while (!series.steps.empty() &&
           now - series.steps.front().begin > kHistoryLength) {
      series.steps.pop_front();
    }
    std::vector<uint64_t> counters = Count(*series.metrics);
    std::vector<Growth> growths = Grown(series.counters, counters);
    series.counters = std::move(counters);
    if (growths.empty() || samples_.empty()) continue;
    series.steps.push_back({samples_.back(), now, std::move(growths)});
  }
  samples_.push_back(now);
  while (now - samples_.front() > kHistoryLength) samples_.pop_front();
}

HistoryView History::Last(absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  HistoryView view;
  for (const absl::Time sample : samples_) {
    if (now - sample <= kHistoryLength) view.samples.push_back(sample);
  }
  for (const Series& series : series_) {
    HistorySeries one{series.metrics->labels, {}};
    for (const Step& step : series.steps) {
      if (now - step.begin <= kHistoryLength) one.steps.push_back(Read(step));
    }
    // Nothing is followed before the first sample.
    const Step rest = {samples_.back(), now,
                       Grown(series.counters, Count(*series.metrics))};
    if (!rest.growths.empty()) one.steps.push_back(Read(rest));
    view.series.push_back(std::move(one));
  }
  return view;
}

}  // namespace fff::metrics

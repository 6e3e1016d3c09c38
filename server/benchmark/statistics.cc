#include "server/benchmark/statistics.h"

#include <algorithm>
#include <numeric>

namespace fff::benchmark {

double Quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  const double rank =
      std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double fraction = rank - static_cast<double>(below);
  return sorted[below] + fraction * (sorted[above] - sorted[below]);
}

Latency Summarize(std::vector<double> samples_s) {
  Latency latency;
  if (samples_s.empty()) return latency;
  std::sort(samples_s.begin(), samples_s.end());
  latency.samples = static_cast<int64_t>(samples_s.size());
  latency.median_s = Quantile(samples_s, 0.5);
  latency.p10_s = Quantile(samples_s, 0.1);
  latency.p90_s = Quantile(samples_s, 0.9);
  latency.p99_s = Quantile(samples_s, 0.99);
  latency.min_s = samples_s.front();
  latency.mean_s = std::accumulate(samples_s.begin(), samples_s.end(), 0.0) /
                   static_cast<double>(samples_s.size());
  return latency;
}

}  // namespace fff::benchmark

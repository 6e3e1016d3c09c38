#pragma once

#include <cstdint>
#include <vector>

namespace fff::benchmark {

// Latencies of repeated calls, seconds of wall time on a monotonic clock.
struct Latency {
  int64_t samples = 0;
  double median_s = 0;
  double p10_s = 0;
  double p90_s = 0;
  double p99_s = 0;
  double min_s = 0;
  double mean_s = 0;
};

// The q-quantile, 0 <= q <= 1, of ascending `sorted`: linear between the two
// closest ranks (Hyndman and Fan's type 7, the default of R and NumPy). 0 when
// `sorted` is empty.
double Quantile(const std::vector<double>& sorted, double q);

// Summarises samples in any order. All zero when there are none.
Latency Summarize(std::vector<double> samples_s);

}  // namespace fff::benchmark

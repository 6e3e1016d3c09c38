#include "server/benchmark/feedforward_share.h"

#include <algorithm>

namespace fff::benchmark {

std::optional<FeedforwardShare> ShareOf(const BenchmarkReport& report,
                                        const BenchmarkCase& one) {
  const double fff_s = one.fff.latency.median_s;
  const double dense_s = one.dense.latency.median_s;
  for (size_t i = 0; i < one.other_baselines.size(); ++i) {
    if (i >= report.other_baselines.size() ||
        report.other_baselines[i].kind != BaselineKind::kWithoutFeedforward) {
      continue;
    }
    const double without_s = one.other_baselines[i].latency.median_s;
    if (!(without_s > 0 && fff_s > 0 && dense_s > 0)) return std::nullopt;
    FeedforwardShare share;
    share.without_s = without_s;
    // Noise may make the part the larger one.
    const double fff_layers_s = std::max(0.0, fff_s - without_s);
    const double dense_layers_s = std::max(0.0, dense_s - without_s);
    share.of_fff = fff_layers_s / fff_s;
    share.of_dense = dense_layers_s / dense_s;
    if (fff_layers_s > 0) share.layers_speedup = dense_layers_s / fff_layers_s;
    share.network_speedup = dense_s / fff_s;
    share.speedup_max = dense_s / without_s;
    return share;
  }
  return std::nullopt;
}

}  // namespace fff::benchmark

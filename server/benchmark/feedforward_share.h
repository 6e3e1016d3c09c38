#pragma once

#include <optional>

#include "server/benchmark/report.h"

namespace fff::benchmark {

// What the FFF layers of a network are of its time. All of it follows from
// three medians of one run: the network with its FFF layers, with dense ones,
// and without either (BaselineKind::kWithoutFeedforward).
struct FeedforwardShare {
  double without_s = 0;        // median of the network without them
  double of_fff = 0;           // of the FFF network's time, 0..1
  double of_dense = 0;         // of the dense network's, 0..1
  double layers_speedup = 0;   // of these layers alone; 0: too fast to tell
  double network_speedup = 0;  // of the whole, BenchmarkCase::speedup
  // What the network's would be if these layers took no time (Amdahl, AFIPS
  // 1967).
  double speedup_max = 0;
};

// Nothing where the network was not measured without its FFF layers.
std::optional<FeedforwardShare> ShareOf(const BenchmarkReport& report,
                                        const BenchmarkCase& one);

}  // namespace fff::benchmark

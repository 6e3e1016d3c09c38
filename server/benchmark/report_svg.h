#pragma once

#include <string>

#include "server/benchmark/report.h"

namespace fff::benchmark {

// The report as a chart: latency against batch size, both logarithmic; FFF and
// dense medians with their p10 to p90 bands, the speed-up at each batch size,
// and the time below which the FFF's bytes do not fit through this machine's
// memory (dashed; only when the report knows it). A complete SVG document that
// follows the reader's light or dark theme and loads nothing.
std::string ReportSvg(const BenchmarkReport& report);

}  // namespace fff::benchmark

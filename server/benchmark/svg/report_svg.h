#pragma once

#include <string>

#include "server/benchmark/report.h"

namespace fff::benchmark {

// What a chart's cases differ in.
enum class ChartAxis {
  kRows,     // batch sizes of one model
  kNeurons,  // training widths at one batch size (a report of --depths)
};

// The report as a chart: latency against batch size or training width, both
// logarithmic. It has FFF and dense medians with their p10 to p90 bands, and
// the speed-up at each point. Dashed, when the report knows it, is the time
// below which the FFF's bytes do not fit through this machine's memory. A
// complete SVG document that follows the reader's light or dark theme and loads
// nothing.
std::string ReportSvg(const BenchmarkReport& report,
                      ChartAxis axis = ChartAxis::kRows);

}  // namespace fff::benchmark

#pragma once

#include <string>

#include "server/benchmark/report.h"

namespace fff::benchmark {

// The report for people: what was measured and on what, one table line per
// batch size, and how to read it. Ends with a newline.
std::string ReportText(const BenchmarkReport& report);

}  // namespace fff::benchmark

#pragma once

#include <string>

#include "server/benchmark/report.h"

namespace fff::benchmark {

// Tables of where the time of a network goes, one per batch size, layers of one
// description in one line, FFF and dense side by side where the twin has the
// same layers; empty for a layer alone.
std::string LayersText(const BenchmarkReport& report);

}  // namespace fff::benchmark

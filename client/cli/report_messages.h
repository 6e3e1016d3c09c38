#pragma once

#include "fff/v1/inference.pb.h"
#include "server/benchmark/report.h"

namespace fff::cli {

// The wire's report as the plain values that the report writers take.
benchmark::BenchmarkReport DecodeReport(const v1::BenchmarkReport& message);

}  // namespace fff::cli

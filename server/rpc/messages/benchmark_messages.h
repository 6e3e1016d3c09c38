#pragma once

#include "absl/status/statusor.h"
#include "fff/v1/inference.pb.h"
#include "server/benchmark/report.h"
#include "server/benchmark/runner.h"
#include "server/rpc/messages/input_decoder.h"
#include "server/serving/batching/servable.h"

// The Benchmark call's messages to and from benchmark/'s plain values. Pure.
namespace fff::rpc {

// Defaults filled in and bounds checked; INVALID_ARGUMENT says which field.
absl::StatusOr<benchmark::BenchmarkOptions> DecodeBenchmark(
    const v1::BenchmarkRequest& request);

// The rows that the request brings for a network; none where it brings none.
// Checked as those of a Predict call, and finite; INVALID_ARGUMENT says which
// field. They point into the request or into `scratch`.
absl::StatusOr<benchmark::OwnRows> DecodeBenchmarkRows(
    const v1::BenchmarkRequest& request, const graph::Graph& graph,
    InputScratch& scratch);

// `servable` is the model that was measured (either implementation).
void EncodeReport(const benchmark::BenchmarkReport& report,
                  const serving::Servable& servable,
                  v1::BenchmarkReport& message);

}  // namespace fff::rpc

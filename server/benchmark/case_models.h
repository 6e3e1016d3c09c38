#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/benchmark/baselines.h"
#include "server/benchmark/case.h"
#include "server/model/builder.h"
#include "server/model/model.h"

namespace fff::benchmark {

// Both sides of a case, ready for RunBenchmark.
struct CaseModels {
  std::shared_ptr<const model::Model> fff;
  Opponent dense;
};

// Random weights from `seed` (the same seed gives the same weights), built the
// way a checkpoint on disk is built. Routing weights have zero bias and are
// symmetric around zero, so that random inputs spread over all leaves. Takes
// memory of about spec.weights_bytes() twice, and what the kernels pack.
absl::StatusOr<CaseModels> BuildCaseModels(const CaseSpec& spec, uint64_t seed,
                                           const model::BuildOptions& options);

}  // namespace fff::benchmark

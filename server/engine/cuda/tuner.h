#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/cuda/chain.h"
#include "server/engine/cuda/lane.h"
#include "server/engine/kernel_plan.h"

namespace fff::engine::cuda {

// Batch sizes for which kernels are chosen: 1, 2, 4, ... up to this.
inline constexpr int64_t kTunedRowsMax = 16384;

// Measures every candidate of every layer on `lane`, over random rows, at each
// batch size up to chain.rows_max(), and makes the fastest the chain's choice.
// Once `seconds` are spent, what is left keeps the choice of the batch size
// below. Returns the choices in words, a list a layer. The lane's device must
// be current and idle.
absl::StatusOr<std::vector<std::vector<KernelPlan::Step>>> Tune(double seconds,
                                                                Chain& chain,
                                                                Lane& lane);

}  // namespace fff::engine::cuda

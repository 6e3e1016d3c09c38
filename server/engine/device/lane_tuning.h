#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/device/chain.h"
#include "server/engine/device/lane.h"
#include "server/engine/kernel_plan.h"

namespace fff::engine {

// Chooses the kernels of the chain by measuring them on `lane` over random
// rows, for up to `budget_s` (ChooseKernels). A candidate that its launch
// refuses is left out, and the reason says so. Returns the choices in words, a
// list per layer. The thread must use the lane's device, and the lane be idle.
absl::StatusOr<std::vector<std::vector<KernelPlan::Step>>> TuneOnLane(
    double budget_s, Chain& chain, Lane& lane);

// The fastest way of batches of 1, 2, 4, ... rows, as many as a lane records,
// by measurement on `lane` once the chain is tuned. Recorded, with copies,
// unless another way is faster by a twentieth.
absl::StatusOr<std::vector<Way>> ChooseWays(const Chain& chain, Lane& lane);

}  // namespace fff::engine

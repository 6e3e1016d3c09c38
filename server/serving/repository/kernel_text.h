#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/kernel_plan.h"

namespace fff::serving {

// Which kernel serves which batch size of which layer, and why: `layers` holds
// the steps of each, as KernelPlan::steps gives them. Layers that choose alike
// share an entry with the reasons of the first, since a deep network repeats
// its layers: "layers 1-3, 7 from 1 rows path_walk (the only kernel); ...".
std::string KernelText(
    absl::Span<const std::vector<engine::KernelPlan::Step>> layers);

}  // namespace fff::serving

#pragma once

#include "absl/types/span.h"
#include "server/engine/problem.h"

namespace fff::engine {

// values[i] = act(values[i]) with the vector code of cpu/activation-inl.h on
// the best instruction set of this machine. Thread-safe, no allocation.
void Activate(Activation activation, absl::Span<float> values);

}  // namespace fff::engine

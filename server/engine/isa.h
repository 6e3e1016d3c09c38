#pragma once

#include <string>

namespace fff::engine {

// The vector instruction set that the CPU kernels run on here: the best of
// those they are compiled for that this processor has, as Highway names it
// ("AVX3", "AVX2", "SSE4", "NEON", ...). Never fails.
std::string CpuIsa();

}  // namespace fff::engine

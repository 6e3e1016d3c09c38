#include "server/engine/isa.h"

#include <cstdint>

#include "hwy/highway.h"
#include "hwy/targets.h"

namespace fff::engine {

std::string CpuIsa() {
  // Highway orders targets so that a lower bit is a better one, and its
  // dispatch takes the lowest bit that is both compiled and supported.
  const auto usable = static_cast<uint64_t>(hwy::SupportedTargets()) &
                      static_cast<uint64_t>(HWY_TARGETS);
  if (usable == 0) return "scalar";
  return hwy::TargetName(static_cast<int64_t>(usable & (~usable + 1)));
}

}  // namespace fff::engine

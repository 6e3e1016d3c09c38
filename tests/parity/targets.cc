#include "tests/parity/targets.h"

#include "hwy/targets.h"

namespace fff::parity {

std::vector<int64_t> MachineTargets() {
  return hwy::SupportedAndGeneratedTargets();
}

std::string TargetName(int64_t target) { return hwy::TargetName(target); }

UseTarget::UseTarget(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

UseTarget::~UseTarget() {
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace fff::parity

#include "server/model/device_copy.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"

namespace fff::model {

std::string DeviceName(const Placement& placement) {
  return absl::StrCat("cuda:", absl::StrJoin(placement.devices, ","));
}

DeviceCopy::DeviceCopy(std::unique_ptr<engine::DeviceProgram> program,
                       const Placement& placement)
    : program_(std::move(program)),
      device_(DeviceName(placement)),
      on_failure_(placement.on_failure) {}

std::vector<engine::KernelPlan::Step> DeviceCopy::steps(size_t node) const {
  std::vector<engine::KernelPlan::Step> steps = program_->report()[node].steps;
  for (engine::KernelPlan::Step& step : steps) {
    step.kernel = absl::StrCat(device_, " ", step.kernel);
  }
  return steps;
}

absl::Status DeviceCopy::Run(const engine::Batch& batch,
                             engine::ExecutionContext& context) const {
  absl::Status status = program_->Run(batch, context);
  if (!status.ok() && !told_.exchange(true)) {
    base::LogError(absl::StrCat(
        device_, " failed: ", status.message(),
        "; the CPU answers, the server is NOT_SERVING; restart the process"));
    on_failure_(status);
  }
  return status;
}

}  // namespace fff::model

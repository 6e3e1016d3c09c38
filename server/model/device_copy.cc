#include "server/model/device_copy.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"

namespace fff::model {

std::string DeviceName(const Placement& placement) {
  return absl::StrCat("cuda:", absl::StrJoin(placement.devices, ","));
}

DeviceCopy::DeviceCopy(std::unique_ptr<engine::DeviceProgram> program,
                       std::vector<int> op_of_layer, const Placement& placement)
    : program_(std::move(program)),
      op_of_layer_(std::move(op_of_layer)),
      device_(DeviceName(placement)),
      on_failure_(placement.on_failure) {}

std::vector<engine::KernelPlan::Step> DeviceCopy::steps(size_t layer) const {
  if (op_of_layer_[layer] < 0) return {};
  std::vector<engine::KernelPlan::Step> steps =
      program_->steps(static_cast<size_t>(op_of_layer_[layer]));
  for (engine::KernelPlan::Step& step : steps) {
    step.kernel = absl::StrCat(device_, " ", step.kernel);
  }
  return steps;
}

absl::Status DeviceCopy::Run(tensor::ConstRows x, tensor::MutableRows y,
                             absl::Span<const engine::RouteSink> routes) const {
  std::vector<engine::RouteSink> sinks;
  for (size_t i = 0; i < routes.size(); ++i) {
    if (op_of_layer_[i] >= 0) sinks.push_back(routes[i]);
  }
  absl::Status status = program_->Run(x, y, sinks);
  if (!status.ok() && !told_.exchange(true)) {
    base::LogError(absl::StrCat(
        device_, " failed: ", status.message(),
        "; the CPU answers, the server is NOT_SERVING; restart the process"));
    on_failure_(status);
  }
  return status;
}

}  // namespace fff::model

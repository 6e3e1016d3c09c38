#include "server/app/device_choice.h"

#include <memory>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/engine/cuda_library.h"

namespace fff::app {
namespace {

void LogDevices(const engine::DeviceEngine& engine) {
  for (const engine::DeviceFacts& device : engine.devices()) {
    base::LogInfo(absl::StrCat("device cuda:", device.index, " ", device.name,
                               " ", device.architecture, " memory=",
                               device.memory_bytes, " ", engine.Describe()));
  }
}

}  // namespace

std::vector<int> DeviceNumbers(const std::string& device) {
  absl::string_view list = device;
  std::vector<int> numbers;
  if (absl::ConsumePrefix(&list, "cuda:")) {
    for (const absl::string_view item :
         absl::StrSplit(list, ',', absl::SkipEmpty())) {
      int number = 0;
      // A number that does not fit names no device.
      numbers.push_back(absl::SimpleAtoi(item, &number) ? number : -1);
    }
  }
  if (numbers.empty()) numbers.push_back(0);
  return numbers;
}

absl::StatusOr<model::Placement> ChoosePlacement(const std::string& device) {
  model::Placement placement;
  if (device == "cpu") return placement;
  const bool demanded = absl::StartsWith(device, "cuda");
  if (!demanded && !engine::CudaDriverPresent()) {
    base::LogInfo(
        "no CUDA engine: no driver on this machine (libcuda.so.1); models run "
        "on the CPU");
    return placement;
  }
  auto engine = engine::OpenCudaEngine();
  if (!engine.ok()) {
    if (demanded) {
      return absl::FailedPreconditionError(
          absl::StrCat("--device=", device, ": ", engine.status().message(),
                       "; use --device=cpu"));
    }
    base::LogInfo(
        absl::StrCat(engine.status().message(), "; models run on the CPU"));
    return placement;
  }
  placement.devices = DeviceNumbers(device);
  for (const int number : placement.devices) {
    if (number < 0 || number >= static_cast<int>((*engine)->devices().size())) {
      return absl::FailedPreconditionError(absl::StrCat(
          "--device=", device, ": there are ", (*engine)->devices().size(),
          " CUDA devices, numbered from 0"));
    }
    if (absl::c_count(placement.devices, number) > 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--device=", device, ": device ", number, " is named twice"));
    }
  }
  LogDevices(**engine);
  placement.engine = *std::move(engine);
  if (demanded) placement.use = model::Placement::Use::kAlways;
  return placement;
}

}  // namespace fff::app

#include "server/engine/device/layer.h"

#include "absl/strings/str_cat.h"

namespace fff::engine {

std::string DeviceLayer::Name(const Candidate& candidate) const {
  const absl::string_view name = KernelName(candidate.kernel);
  if (candidate.variant == 0) return std::string(name);
  return absl::StrCat(name, "/", candidate.variant);
}

}  // namespace fff::engine

#include "server/serving/repository/version_transition.h"

#include <algorithm>

namespace fff::serving {
namespace {

bool NeedsLoad(const VersionView& view) {
  return view.wanted && !view.dismissed && view.settled && !view.current &&
         !view.failed;
}

}  // namespace

Transition NextTransition(absl::Span<const VersionView> versions) {
  const VersionView* load = nullptr;
  const VersionView* dismissed = nullptr;
  const VersionView* spare = nullptr;
  bool any_wanted = false;
  bool wanted_served = false;
  for (const VersionView& view : versions) {
    const bool wanted = view.wanted && !view.dismissed;
    any_wanted = any_wanted || wanted;
    wanted_served = wanted_served || (wanted && view.served);
    if (NeedsLoad(view) && (load == nullptr || view.version > load->version)) {
      load = &view;
    }
    if (!view.served || wanted) continue;
    const VersionView*& leaving = view.dismissed ? dismissed : spare;
    if (leaving == nullptr || view.version < leaving->version) leaving = &view;
  }
  if (load != nullptr) return {Transition::Kind::kLoad, load->version};
  if (dismissed != nullptr) {
    return {Transition::Kind::kUnload, dismissed->version};
  }
  if (spare != nullptr && (wanted_served || !any_wanted)) {
    return {Transition::Kind::kUnload, spare->version};
  }
  return {};
}

}  // namespace fff::serving

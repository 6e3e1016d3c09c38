#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "server/base/progress.h"
#include "server/serving/batching/servable.h"

namespace fff::serving {

// kLoading: wanted and on its way. kReady: answers. kFailed: wanted and not
// loadable. kUnloaded: in the repository and not asked for.
enum class VersionState { kLoading, kReady, kFailed, kUnloaded };

// "loading", "ready", "failed", "unloaded".
absl::string_view Name(VersionState state);

// One version of one model as the API lists it.
struct VersionStatus {
  std::string model_name;  // without ":dense"
  int64_t version = 0;     // 0 when the model as a whole could not be read
  VersionState state = VersionState::kLoading;
  // Why it failed, or what it waits for. Not empty for a ready version: why
  // newer files of the same version could not replace it.
  std::string reason;
  bool is_default = false;
  std::shared_ptr<const Servable> fff;  // null unless ready
  // Null unless ready, and where the model has no twin, or none yet.
  std::shared_ptr<const Servable> dense;
  std::string dense_reason;  // why a twin that was asked for is not there
  // Of the load that is under way; null while there is none.
  std::shared_ptr<const base::Progress> progress;
};

// A version's twin as the API lists it.
struct TwinStatus {
  VersionState state = VersionState::kLoading;
  std::string reason;
};
// Nothing for a ready version that has none.
std::optional<TwinStatus> TwinOf(const VersionStatus& status);

// `reason`, or what ended the device that a ready version ran on, or how far
// the load of one that is loading is.
std::string ReasonOf(const VersionStatus& status);

}  // namespace fff::serving

#pragma once

#include <cstdint>

#include "absl/types/span.h"

// Which version of a model is loaded or unloaded next. Pure: the files, clocks
// and threads are model_repository's.
namespace fff::serving {

// What is known of one version when the next step is chosen.
struct VersionView {
  int64_t version = 0;
  // The policy, or the operator, asks for it.
  bool wanted = false;
  // The operator asked for it to go, whether another one serves or not.
  bool dismissed = false;
  // Its files have stopped changing, so that reading them makes sense.
  bool settled = false;
  // The files that are there now could not be loaded and need not be tried
  // again.
  bool failed = false;
  // It answers requests.
  bool served = false;
  // It answers from the files that are there now.
  bool current = false;
};

struct Transition {
  enum class Kind { kNone, kLoad, kUnload };
  Kind kind = Kind::kNone;
  int64_t version = 0;
};

// The next step towards serving what is wanted, with something always serving
// on the way:
//   1. load the highest version that is wanted, settled, not current and not
//      failed (a version that is served from older files goes on serving until
//      the new ones are ready);
//   2. unload the lowest that is dismissed;
//   3. unload the lowest that is not wanted, when a wanted one is served or
//      none is wanted. While the wanted ones fail or are on their way, what was
//      served goes on.
// Carrying a step out changes the view so that repeating ends after at most two
// steps per version: a loaded version is current or failed, an unloaded one is
// not served.
Transition NextTransition(absl::Span<const VersionView> versions);

}  // namespace fff::serving

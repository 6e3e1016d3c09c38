#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/checkpoint/pickle.h"

namespace fff::checkpoint {

// One named number or tensor of a state_dict. `name` points into the pickle.
struct StateEntry {
  absl::string_view name;
  std::variant<PickleTensorRef, int64_t, double> value;
};

// The entries of the state_dict that a pickle holds, in order. The top level is
// either the state_dict itself, or a dict with one state_dict below the key
// "state_dict", "model_state_dict" or "model", as training scripts write it;
// then only that one is read. Values that are neither tensor, int nor float are
// left out. INVALID_ARGUMENT when the top level is no dict, two of those keys
// hold a dict, a name is no str, not UTF-8, too long or occurs twice, there are
// more than kTensorsMax entries, or there is no tensor at all.
absl::StatusOr<std::vector<StateEntry>> ReadStateDict(
    const Unpickled& unpickled);

}  // namespace fff::checkpoint

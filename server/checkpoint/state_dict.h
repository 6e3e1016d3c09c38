#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/checkpoint/pickle.h"

namespace fff::checkpoint {

// One named number or tensor of a state_dict.
struct StateEntry {
  std::string name;
  std::variant<PickleTensorRef, int64_t, double> value;
};

struct StateDict {
  std::vector<StateEntry> entries;  // in order
  // Entries that are neither, nor str, bool or None, and what they are: "list",
  // "numpy.ndarray".
  std::map<std::string, std::string, std::less<>> others;
};

// The state_dict that a pickle holds: the dict `entry` where one is named, else
// the only one that can be meant (state_dict_choice.h). Entries under keys that
// are no str are left out; those of dicts inside it that hold weights, too, are
// named with dots ("encoder.weight").
// INVALID_ARGUMENT when `entry` is not there, several dicts can be meant, a
// name is not UTF-8, too long or occurs twice, or there are more than
// kTensorsMax entries. NOT_FOUND when no dict of the pickle can be meant.
absl::StatusOr<StateDict> ReadStateDict(const Unpickled& unpickled,
                                        absl::string_view entry = {});

}  // namespace fff::checkpoint

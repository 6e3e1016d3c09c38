#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/checkpoint/pickle_value.h"

// What the opcodes of pickles do to values that are there already. Errors are
// INVALID_ARGUMENT: the value is of a type that Python would refuse, too.
namespace fff::checkpoint {

// APPEND and APPENDS: what is appended to an opaque value is dropped.
absl::Status AppendItems(PickleHeap& heap, ValueId list,
                         const std::vector<ValueId>& items);

// ADDITEMS, to a set; sets are opaque, so the items are dropped.
absl::Status AddItems(PickleHeap& heap, ValueId set,
                      const std::vector<ValueId>& items);

// SETITEM and SETITEMS: keys and values by turns. An opaque value becomes a
// dict: it is of a class that derives from dict, and a state_dict in one is a
// state_dict.
absl::Status SetItems(PickleHeap& heap, ValueId dict,
                      const std::vector<ValueId>& items);

// BUILD sets attributes, as torch does with the versions of modules
// (_metadata) on an OrderedDict. They are dropped. Those of a tensor may
// replace its elements, so it cannot be read from then on.
absl::Status SetState(PickleHeap& heap, ValueId object,
                      const std::vector<ValueId>& state);

}  // namespace fff::checkpoint

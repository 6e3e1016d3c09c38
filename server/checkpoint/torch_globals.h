#pragma once

#include "absl/strings/string_view.h"
#include "server/checkpoint/pickle_value.h"

namespace fff::checkpoint {

// What `module`.`name` stands for: a PickleGlobal when it is one of the few
// that a state_dict is made of, a PickleOpaque that carries both names
// otherwise. Nothing is imported.
// Source: PyTorch, torch/serialization.py (persistent_id), torch/_utils.py and
// torch/_tensor.py (_rebuild_*), torch/storage.py (names of storage types).
PickleValue FindGlobal(absl::string_view module, absl::string_view name);

}  // namespace fff::checkpoint

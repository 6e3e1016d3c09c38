#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/checkpoint/pickle_value.h"

// What torch.save puts in a pickle beyond plain data, as data: names from one
// allow-list, and what calling each of them means. Nothing is executed.
// Source: PyTorch, torch/serialization.py (_save, persistent_id) and
// torch/_utils.py (_rebuild_*).
namespace fff::checkpoint {

// The allow-listed global `module`.`name`, or INVALID_ARGUMENT that names it
// and says what to save instead.
absl::StatusOr<PickleGlobal> FindGlobal(absl::string_view module,
                                        absl::string_view name);

// What calling `callable` with the tuple `arguments` yields; the result may be
// one of the arguments. INVALID_ARGUMENT when `callable` is no global that can
// be called, or an argument is not what torch passes.
absl::StatusOr<ValueId> Call(PickleHeap& heap, ValueId callable,
                             ValueId arguments);

// The storage that a persistent id ("storage", type, key, location, numel)
// names. The location (cpu, cuda:0, ...) does not matter: bytes are bytes.
absl::StatusOr<PickleStorage> LoadPersistentId(const PickleHeap& heap,
                                               ValueId id);

}  // namespace fff::checkpoint

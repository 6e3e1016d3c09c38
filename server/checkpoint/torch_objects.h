#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/checkpoint/pickle_value.h"

// What torch.save puts in a pickle beyond plain data, as data: what calling a
// name means, and what a persistent id names. Nothing is executed.
// Source: PyTorch, torch/serialization.py (_save, persistent_id).
namespace fff::checkpoint {

// What calling `callable` with the tuple `arguments` yields; the result may be
// one of the arguments. An opaque callable, and one that is known but gets
// other arguments than torch passes, yields an opaque value or an unreadable
// tensor. INVALID_ARGUMENT when `callable` is plain data, and for a bound of
// torch_tensors.h.
absl::StatusOr<ValueId> Call(PickleHeap& heap, ValueId callable,
                             ValueId arguments);

// The storage that a persistent id ("storage", type, key, location, numel)
// names. The location (cpu, cuda:0, ...) does not matter: bytes are bytes. A
// storage of an unknown type is an opaque value with that type's name, and any
// other id an opaque value. INVALID_ARGUMENT for a storage's id with other
// items than torch writes.
absl::StatusOr<PickleValue> LoadPersistentId(const PickleHeap& heap,
                                             ValueId id);

}  // namespace fff::checkpoint

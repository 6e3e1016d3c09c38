#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/checkpoint/pickle_value.h"

namespace fff::checkpoint {

// Bounds of one pickle; pickle_stack.h and pickle_literals.h have
// more. A state_dict takes about
// 45 opcodes and 300 bytes a tensor; together with sizeof(PickleValue) they
// bound the heap to about 300 MiB for the worst pickle.
inline constexpr size_t kPickleBytesMax = size_t{32} << 20;
inline constexpr size_t kPickleOpcodesMax = size_t{4} << 20;

// What a pickle evaluates to. Strings point into the pickle's bytes.
struct Unpickled {
  PickleHeap heap;
  ValueId root = 0;
};

// Runs a pickle of protocols 2 to 5 on a machine that knows plain data (None,
// bool, int, float, str, bytes, tuple, list, dict) and the objects of
// torch_objects.h, and that executes nothing: there is no import, no attribute,
// no call of anything but those. INVALID_ARGUMENT, with the byte's position and
// the opcode's name, for any other opcode, any other global (named), a pickle
// above a bound, truncation, and misuse of the stack.
// Source: CPython, Lib/pickle.py, class _Unpickler.
absl::StatusOr<Unpickled> Unpickle(absl::Span<const std::byte> pickle);

}  // namespace fff::checkpoint

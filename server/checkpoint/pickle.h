#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/checkpoint/pickle_value.h"

namespace fff::checkpoint {

// Bounds of one pickle; pickle_stack.h and pickle_literals.h have
// more. A state_dict takes about
// 45 opcodes and 300 bytes per tensor; together with sizeof(PickleValue) they
// bound the heap to about 300 MiB for the worst pickle. Arrays of numpy beside
// the state_dict are bytes of the pickle, which nothing copies.
inline constexpr size_t kPickleBytesMax = size_t{128} << 20;
inline constexpr size_t kPickleOpcodesMax = size_t{4} << 20;

// What a pickle evaluates to. Strings point into the pickle's bytes.
struct Unpickled {
  PickleHeap heap;
  ValueId root = 0;
};

// Runs a pickle of protocols 0 to 5 on a machine that executes nothing: there
// is no import, no attribute, no call. It knows plain data (None, bool, int,
// float, str, tuple, list, dict) and the objects of torch_objects.h. Every
// other global, and all that is made of it, are opaque values, which carry a
// name and nothing else. So a scheduler's Counter or a class of the training
// script is no error beside a state_dict. INVALID_ARGUMENT for a byte that is
// no opcode, a pickle above a bound, truncation, and misuse of the stack or of
// plain data. It has the byte's position and the opcode's name.
// Source: CPython, Lib/pickle.py, class _Unpickler.
absl::StatusOr<Unpickled> Unpickle(absl::Span<const std::byte> pickle);

}  // namespace fff::checkpoint

#pragma once

#include <cstddef>
#include <optional>

#include "absl/status/statusor.h"
#include "server/checkpoint/byte_reader.h"
#include "server/checkpoint/pickle_opcodes.h"
#include "server/checkpoint/pickle_value.h"

namespace fff::checkpoint {

// The value that `opcode` pushes when it is one of those that push a constant:
// None, a bool, a number, a string, bytes, an empty container, a class by its
// number. Reads its operand from `reader`; strings point into the reader's
// bytes. No value when `opcode` is any other; then nothing is read.
// INVALID_ARGUMENT when the operand is cut off or malformed.
absl::StatusOr<std::optional<PickleValue>> ReadLiteral(Opcode opcode,
                                                       ByteReader& reader);

// The error for an operand that is not there.
absl::Status TruncatedPickle();

}  // namespace fff::checkpoint

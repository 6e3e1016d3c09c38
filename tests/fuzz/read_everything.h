#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace fff::fuzz {

// Parses a copy of `bytes` that has exactly its size. When it is a checkpoint,
// reads every byte of every tensor and converts each tensor both ways; when it
// is not, checks that the error is INVALID_ARGUMENT with a message that is
// UTF-8 and one line. Aborts when a promise of checkpoint.h is broken.
void ReadEverything(absl::string_view bytes);

}  // namespace fff::fuzz

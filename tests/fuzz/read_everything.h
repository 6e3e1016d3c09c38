#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace fff::fuzz {

// Parses a copy of `bytes` that has exactly its size, of a torch archive the
// dict `entry` where one is named. When it is a checkpoint, reads every byte of
// every tensor and converts each tensor both ways. When it is not, checks that
// the error is INVALID_ARGUMENT with a message that is UTF-8 and one line.
// Aborts when a promise of checkpoint.h is broken.
void ReadEverything(absl::string_view bytes, absl::string_view entry = {});

}  // namespace fff::fuzz

#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"

// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above
// U+10FFFF.
namespace fff::base {

// Bytes of the character that `text` starts with, 1 to 4; 0 when it starts with
// none, which includes the empty text.
size_t Utf8CharacterBytes(absl::string_view text);

// Whether `text` is UTF-8 from end to end; the empty text is.
bool IsUtf8(absl::string_view text);

}  // namespace fff::base

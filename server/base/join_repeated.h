#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fff::base {

// `parts` with `separator` between them. A sequence of parts that stands there
// two times or more in a row is told once: "a | 16 x (b | c | d) | e".
// Sequences of fewer than four parts in all are left as they are. Takes
// parts.size() cubed steps at most.
std::string JoinRepeated(absl::Span<const std::string> parts,
                         absl::string_view separator);

}  // namespace fff::base

#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace fff::app {

// The text with every %XX as its byte (RFC 3986, 2.1); none when one is wrong.
std::optional<std::string> PercentDecoded(absl::string_view text);

}  // namespace fff::app

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace fff::importer {

inline constexpr int kJsonDepthMax = 16;

// JSON as RFC 8259 has it: no comments, no trailing commas, one value, valid
// UTF-8. Beyond the grammar a key that occurs twice in one object, nesting
// deeper than kJsonDepthMax and numbers outside double are errors. Messages of
// INVALID_ARGUMENT start with `source`. Included by .cc files of this folder
// only.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text,
                                               const std::string& source);

}  // namespace fff::importer

#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace fff::base {

enum class LogLevel;  // of log.h

// A fact of a log line, as JSON writes it.
struct LogField {
  LogField(absl::string_view key_in, absl::string_view text);
  LogField(absl::string_view key_in, int64_t number);
  LogField(absl::string_view key_in, double number);

  absl::string_view key;  // a word of lower-case letters and underscores
  std::string json;
};

// Log of something that programs look for. The text log has `message` alone;
// the JSON log has "event" and `fields` beside it. Values may be untrusted.
void LogEvent(LogLevel level, absl::string_view event,
              std::initializer_list<LogField> fields,
              absl::string_view message);

}  // namespace fff::base

#pragma once

#include <string>

#include "absl/strings/string_view.h"

// The process log: one line an event on standard error, "time level message".
// Thread-safe. Messages are whole sentences or `key=value` pairs; build them
// with absl::StrCat so that no format string meets untrusted text.
namespace fff::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

void SetLogLevel(LogLevel level);
void Log(LogLevel level, absl::string_view message);

inline void LogInfo(absl::string_view message) {
  Log(LogLevel::kInfo, message);
}
inline void LogWarning(absl::string_view message) {
  Log(LogLevel::kWarning, message);
}
inline void LogError(absl::string_view message) {
  Log(LogLevel::kError, message);
}

// `text` with control characters and bytes that are not UTF-8 as \xNN, cut at
// `max_bytes` of `text` between characters, for names that came from a file or
// a peer: a log line stays one line, and the result is UTF-8 whatever came in.
std::string Printable(absl::string_view text, size_t max_bytes = 200);

}  // namespace fff::base

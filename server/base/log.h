#pragma once

#include <string>

#include "absl/strings/string_view.h"

// The process log: one line an event on standard error, "time level message".
// Thread-safe. Messages are whole sentences or `key=value` pairs; build them
// with absl::StrCat so that no format string meets untrusted text.
namespace fff::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

void SetLogLevel(LogLevel level);
// From now on one JSON object per line: {"time": ..., "level": ..., "message":
// ...}. Before the first thread that logs.
void UseJsonLog();
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

// For names that came from a file or a peer: `text` with control characters and
// bytes that are not UTF-8 as \xNN, cut at `max_bytes` of `text` between
// characters. A log line stays one line, and the result is always UTF-8.
std::string Printable(absl::string_view text, size_t max_bytes = 200);

// `text` as a JSON string with its quotes, appended to `out`; bytes that are
// not UTF-8 and control characters become \xNN as in Printable.
void AppendJsonString(absl::string_view text, std::string& out);

}  // namespace fff::base

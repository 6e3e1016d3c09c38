#include "server/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/base/log_event.h"
#include "server/base/utf8.h"

namespace fff::base {
namespace {

spdlog::logger& Logger() {
  static spdlog::logger* const logger = [] {
    auto* made = new spdlog::logger(
        "fff", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *logger;
}

bool& JsonLog() {
  static bool json = false;
  return json;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void SetLogLevel(LogLevel level) { Logger().set_level(ToSpdlog(level)); }

void UseJsonLog() {
  JsonLog() = true;
  Logger().set_pattern(
      R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":%v})");
}

void Log(LogLevel level, absl::string_view message) {
  std::string quoted;
  if (JsonLog()) {
    AppendJsonString(message, quoted);
    message = quoted;
  }
  Logger().log(ToSpdlog(level),
               spdlog::string_view_t(message.data(), message.size()));
}

LogField::LogField(absl::string_view key_in, absl::string_view text)
    : key(key_in) {
  AppendJsonString(text, json);
}
LogField::LogField(absl::string_view key_in, int64_t number)
    : key(key_in), json(absl::StrCat(number)) {}
LogField::LogField(absl::string_view key_in, double number)
    : key(key_in),
      json(std::isfinite(number) ? absl::StrCat(number) : "null") {}

void LogEvent(LogLevel level, absl::string_view event,
              std::initializer_list<LogField> fields,
              absl::string_view message) {
  if (!JsonLog()) return Log(level, message);
  // The pattern ends with the message's value, so these follow it.
  std::string values;
  AppendJsonString(message, values);
  absl::StrAppend(&values, ",\"event\":");
  AppendJsonString(event, values);
  for (const LogField& field : fields) {
    absl::StrAppend(&values, ",\"", field.key, "\":", field.json);
  }
  Logger().log(ToSpdlog(level), spdlog::string_view_t(values));
}

std::string Printable(absl::string_view text, size_t max_bytes) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    const size_t bytes = Utf8CharacterBytes(text.substr(at));
    if (at + (bytes == 0 ? 1 : bytes) > max_bytes) break;
    const auto byte = static_cast<unsigned char>(text[at]);
    if (bytes == 0 || byte < 0x20 || byte == 0x7f) {
      absl::StrAppend(&out, "\\x", absl::Hex(byte, absl::kZeroPad2));
      ++at;
    } else {
      out.append(text.data() + at, bytes);
      at += bytes;
    }
  }
  if (at < text.size()) {
    absl::StrAppend(&out, "... (", text.size(), " bytes)");
  }
  return out;
}

void AppendJsonString(absl::string_view text, std::string& out) {
  out.push_back('"');
  // Printable leaves no control character.
  for (const char c : Printable(text, text.size())) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

}  // namespace fff::base

#include "server/rpc/observe/trace_context.h"

#include <algorithm>

namespace fff::rpc {
namespace {

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

bool IsId(absl::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != absl::string_view::npos;
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(absl::string_view header) {
  // version "-" trace-id "-" parent-id "-" flags
  constexpr size_t kLength = 2 + 1 + 32 + 1 + 16 + 1 + 2;
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' ||
      header[52] != '-') {
    return std::nullopt;
  }
  const absl::string_view version = header.substr(0, 2);
  const absl::string_view flags = header.substr(53, 2);
  const bool longer = header.size() > kLength;
  if (!IsHex(version) || version == "ff" || !IsHex(flags) ||
      (longer && (version == "00" || header[kLength] != '-'))) {
    return std::nullopt;
  }
  TraceContext context;
  context.trace_id = std::string(header.substr(3, 32));
  context.span_id = std::string(header.substr(36, 16));
  if (!IsId(context.trace_id) || !IsId(context.span_id)) return std::nullopt;
  const char low = flags[1];
  const int bits = low <= '9' ? low - '0' : low - 'a' + 10;
  context.sampled = (bits & 1) != 0;
  return context;
}

}  // namespace fff::rpc

#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace fff::rpc {

// Where a request belongs in its caller's trace: W3C Trace Context, level 1.
struct TraceContext {
  std::string trace_id;  // 32 lower-case hexadecimal digits, not all zero
  std::string span_id;   // 16 of them, the caller's span
  bool sampled = false;  // the caller records this trace
  std::string state{};   // the `tracestate` header; "" = none came
};

// Of a `tracestate` header; a longer one is left out, as W3C Trace Context has
// it.
inline constexpr size_t kTraceStateBytesMax = 512;

// Reads a `traceparent` header; nothing when it is malformed, which is then as
// if it were absent. Later versions may append fields.
std::optional<TraceContext> ParseTraceparent(absl::string_view header);

}  // namespace fff::rpc

#pragma once

#include <array>
#include <cstdint>

namespace fff::base {

// The ids of one span, as W3C Trace Context has them.
using TraceId = std::array<uint8_t, 16>;
using SpanId = std::array<uint8_t, 8>;

struct TraceIds {
  TraceId trace_id{};
  SpanId span_id{};
};

}  // namespace fff::base

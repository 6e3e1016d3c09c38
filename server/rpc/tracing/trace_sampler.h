#pragma once

#include <cstdint>
#include <optional>

#include "server/base/trace_ids.h"
#include "server/rpc/observe/trace_context.h"

namespace fff::rpc {

// A span that is recorded, and the caller's that it belongs to.
struct SpanIds {
  base::TraceIds own;
  std::optional<base::SpanId> parent;  // nothing: the trace begins here
};

// The caller's span.
base::TraceIds IdsOf(const TraceContext& caller);

// Which requests become spans: OpenTelemetry's ParentBased sampler over
// TraceIdRatioBased. Immutable.
class TraceSampler {
 public:
  // `ratio`, 0 to 1, of the requests that come without a caller's trace.
  explicit TraceSampler(double ratio);

  // Ids for the span of one request; nothing when it is not recorded. The flag
  // of `caller` decides where there is one (not null), else the ratio by a new
  // trace id.
  std::optional<SpanIds> Sample(const TraceContext* caller) const;

  // Whether the ratio takes a trace whose id ends with these eight bytes, read
  // as a big-endian number. Other programs of the same ratio take the same
  // traces (OpenTelemetry for Go and Java compare the same 63 bits).
  bool Takes(uint64_t trace_id_end) const { return trace_id_end >> 1 < bound_; }

 private:
  uint64_t bound_;  // of 2^63
};

}  // namespace fff::rpc

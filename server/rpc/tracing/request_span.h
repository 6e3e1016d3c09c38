#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "opentelemetry/trace_service.pb.h"
#include "server/rpc/observe/access_log.h"
#include "server/rpc/tracing/trace_sampler.h"

// A request as OpenTelemetry's spans. Pure.
namespace fff::rpc {

namespace otlp = opentelemetry::proto::collector::trace::v1;

// The longest text of a span that came from a client; more is cut.
inline constexpr size_t kSpanTextBytesMax = 256;

// An answered request that waits to be exported. Owns what it holds, a few
// hundred bytes.
struct RequestSpan {
  SpanIds ids;
  std::string trace_state;
  int64_t end_unix_ns = 0;
  // All else as in AccessEntry.
  absl::string_view service;  // these two live as long as the program
  absl::string_view method;
  std::string model;
  std::string implementation;
  std::string request_id;
  std::string message;
  int code = 0;
  int64_t version = 0;
  int64_t rows = 0;
  int64_t batch_rows = 0;
  int64_t request_bytes = 0;
  int64_t answer_bytes = 0;
  int64_t decode_ns = 0;
  int64_t queue_ns = 0;
  int64_t encode_ns = 0;
  int64_t total_ns = 0;

  // Of a request that failed, the queue's time is known where it waited.
  bool queued() const { return computed() || queue_ns > 0; }
  bool computed() const { return code == 0; }
  // That of the request itself, and of its parts.
  uint64_t spans() const {
    return 1 + (queued() ? 1u : 0u) + (computed() ? 1u : 0u);
  }
};

// `entry` ended at `end_unix_ns`. What a client wrote becomes UTF-8, cut.
RequestSpan MakeSpan(const AccessEntry& entry, const SpanIds& ids,
                     int64_t end_unix_ns);

// Appends request.spans() spans: "SERVICE/METHOD" of kind SERVER, and its
// children "queue" and "compute". Their attributes are listed in
// deploy/README.md.
void AppendSpans(const RequestSpan& request, otlp::ScopeSpans& to);

using ResourceAttributes = std::vector<std::pair<std::string, std::string>>;
// `attributes` tell the process from others: "service.name" and more.
void SetResource(const ResourceAttributes& attributes, otlp::Resource& to);

}  // namespace fff::rpc

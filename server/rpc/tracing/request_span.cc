#include "server/rpc/tracing/request_span.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace fff::rpc {
namespace {

// Of Span.flags: the caller's flag that the trace is recorded, and whether the
// parent is known to be another process's.
constexpr uint32_t kSampled = 1;
constexpr uint32_t kParentKnown = 0x100;
constexpr uint32_t kParentRemote = 0x200;

template <class Id>
std::string Bytes(const Id& id) {
  return {reinterpret_cast<const char*>(id.data()), id.size()};
}

void Set(absl::string_view key, absl::string_view value, otlp::KeyValue& to) {
  to.set_key(std::string(key));
  to.mutable_value()->set_string_value(std::string(value));
}

class Attributes {
 public:
  explicit Attributes(otlp::Span* span) : span_(span) {}
  void Add(absl::string_view key, absl::string_view value) {
    if (!value.empty()) Set(key, value, *span_->add_attributes());
  }
  // 0 is what nobody knows of a request that was refused.
  void AddKnown(absl::string_view key, int64_t value) {
    if (value != 0) Add(key, value);
  }
  void Add(absl::string_view key, int64_t value) {
    otlp::KeyValue& attribute = *span_->add_attributes();
    attribute.set_key(std::string(key));
    attribute.mutable_value()->set_int_value(value);
  }

 private:
  otlp::Span* const span_;
};

void SetTimes(int64_t start_ns, int64_t end_ns, otlp::Span& to) {
  to.set_start_time_unix_nano(static_cast<uint64_t>(start_ns));
  // Times that were measured apart never make a span end before it begins.
  to.set_end_time_unix_nano(static_cast<uint64_t>(std::max(start_ns, end_ns)));
}

otlp::Span& AddSpan(const RequestSpan& request, absl::string_view name,
                    otlp::ScopeSpans& to) {
  otlp::Span& span = *to.add_spans();
  span.set_trace_id(Bytes(request.ids.own.trace_id));
  span.set_trace_state(request.trace_state);
  span.set_name(std::string(name));
  return span;
}

void AppendServerSpan(const RequestSpan& request, int64_t start_ns,
                      otlp::ScopeSpans& to) {
  otlp::Span& span =
      AddSpan(request, absl::StrCat(request.service, "/", request.method), to);
  span.set_kind(otlp::Span::SPAN_KIND_SERVER);
  span.set_span_id(Bytes(request.ids.own.span_id));
  uint32_t flags = kSampled | kParentKnown;
  if (request.ids.parent.has_value()) {
    span.set_parent_span_id(Bytes(*request.ids.parent));
    flags |= kParentRemote;
  }
  span.set_flags(flags);
  SetTimes(start_ns, request.end_unix_ns, span);
  Attributes attributes(&span);
  attributes.Add("rpc.system", "grpc");
  attributes.Add("rpc.service", request.service);
  attributes.Add("rpc.method", request.method);
  attributes.Add("rpc.grpc.status_code", int64_t{request.code});
  attributes.Add("fff.model", request.model);
  attributes.AddKnown("fff.version", request.version);
  attributes.Add("fff.implementation", request.implementation);
  attributes.Add("fff.request_id", request.request_id);
  attributes.AddKnown("fff.rows", request.rows);
  attributes.AddKnown("fff.batch_rows", request.batch_rows);
  attributes.AddKnown("fff.request_bytes", request.request_bytes);
  attributes.AddKnown("fff.answer_bytes", request.answer_bytes);
  if (request.code == 0) return;
  span.mutable_status()->set_code(otlp::Status::STATUS_CODE_ERROR);
  span.mutable_status()->set_message(request.message);
}

void AppendChild(const RequestSpan& request, absl::string_view name,
                 uint8_t number, int64_t start_ns, int64_t end_ns,
                 otlp::ScopeSpans& to) {
  otlp::Span& span = AddSpan(request, name, to);
  span.set_kind(otlp::Span::SPAN_KIND_INTERNAL);
  span.set_flags(kSampled | kParentKnown);
  span.set_parent_span_id(Bytes(request.ids.own.span_id));
  // As random as the parent's, and another one.
  base::SpanId id = request.ids.own.span_id;
  id[0] = static_cast<uint8_t>(id[0] ^ number);
  span.set_span_id(Bytes(id));
  SetTimes(start_ns, end_ns, span);
}

}  // namespace

RequestSpan MakeSpan(const AccessEntry& entry, const SpanIds& ids,
                     int64_t end_unix_ns) {
  RequestSpan span;
  span.ids = ids;
  if (entry.trace != nullptr) span.trace_state = entry.trace->state;
  span.end_unix_ns = end_unix_ns;
  span.service = entry.service;
  span.method = entry.method;
  span.model = base::Printable(entry.model, kSpanTextBytesMax);
  span.implementation = std::string(entry.implementation);
  span.request_id = base::Printable(entry.request_id, kSpanTextBytesMax);
  span.message = base::Printable(entry.message, kSpanTextBytesMax);
  span.code = entry.code;
  span.version = entry.version;
  span.rows = entry.rows;
  span.batch_rows = entry.batch_rows;
  span.request_bytes = entry.request_bytes;
  span.answer_bytes = entry.answer_bytes;
  span.decode_ns = entry.decode_ns;
  span.queue_ns = entry.queue_ns;
  span.encode_ns = entry.encode_ns;
  span.total_ns = entry.total_ns;
  return span;
}

void AppendSpans(const RequestSpan& request, otlp::ScopeSpans& to) {
  const int64_t start_ns = request.end_unix_ns - request.total_ns;
  AppendServerSpan(request, start_ns, to);
  const int64_t queued_ns = start_ns + request.decode_ns;
  const int64_t begun_ns = queued_ns + request.queue_ns;
  const int64_t computed_ns = request.end_unix_ns - request.encode_ns;
  if (request.queued()) {
    AppendChild(request, "queue", 1, queued_ns, begun_ns, to);
  }
  if (request.computed()) {
    AppendChild(request, "compute", 2, begun_ns, computed_ns, to);
  }
}

void SetResource(const ResourceAttributes& attributes, otlp::Resource& to) {
  for (const auto& [key, value] : attributes) {
    Set(key, value, *to.add_attributes());
  }
}

}  // namespace fff::rpc

#include "server/rpc/observe/call_details.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/serving/batching/retry_after.h"

namespace fff::rpc {
namespace {

double Microseconds(int64_t ns) { return static_cast<double>(ns) / 1000; }

// Several headers are one list.
std::string TraceState(
    const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  std::string state;
  const auto [begin, end] = metadata.equal_range("tracestate");
  for (auto at = begin; at != end; ++at) {
    if (!state.empty()) state.push_back(',');
    state.append(at->second.data(), at->second.size());
  }
  return state.size() <= kTraceStateBytesMax ? state : "";
}

}  // namespace

CallDetails ReadDetails(const grpc::ServerContext& context) {
  CallDetails details;
  const auto& metadata = context.client_metadata();
  constexpr size_t kEntryBytes = 32;
  size_t bytes = 0;
  for (const auto& [name, value] : metadata) {
    bytes += name.size() + value.size() + kEntryBytes;
  }
  details.metadata_bytes = static_cast<int64_t>(bytes);
  details.wants_timing = metadata.find(kTimingKey) != metadata.end();
  const auto trace = metadata.find("traceparent");
  if (trace != metadata.end()) {
    details.trace =
        ParseTraceparent({trace->second.data(), trace->second.size()});
    if (details.trace.has_value() && details.trace->sampled) {
      details.trace->state = TraceState(metadata);
    }
  }
  return details;
}

std::string TimingText(const TimeSplit& split,
                       const serving::TaskTiming& timing) {
  return absl::StrFormat(
      "decode_us=%.1f;queue_us=%.1f;compute_us=%.1f;encode_us=%.1f;"
      "batch_rows=%d",
      Microseconds(split.decode_ns), Microseconds(timing.queue_ns),
      Microseconds(timing.compute_ns), Microseconds(split.encode_ns),
      timing.batch_rows);
}

void AddRetryPushback(const absl::Status& status,
                      grpc::ServerContext& context) {
  const auto delay = serving::RetryAfter(status);
  if (!delay.has_value()) return;
  context.AddTrailingMetadata("grpc-retry-pushback-ms",
                              absl::StrCat(delay->count()));
}

}  // namespace fff::rpc

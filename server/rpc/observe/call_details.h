#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/rpc/observe/trace_context.h"
#include "server/serving/batching/task.h"

// What inference calls say in their metadata, and are told in theirs.
namespace fff::rpc {

// Asks for the time split of a unary call, whatever its value: the trailing
// metadata then hold the same key with the value of TimingText.
inline constexpr char kTimingKey[] = "fff-timing";

struct CallDetails {
  bool wants_timing = false;
  // As HTTP/2 counts a header list (RFC 9113, section 6.5.2): names, values and
  // 32 bytes each, of what the application sees.
  int64_t metadata_bytes = 0;
  std::optional<TraceContext> trace;
};
CallDetails ReadDetails(const grpc::ServerContext& context);

// Where the time of one request went.
struct TimeSplit {
  int64_t decode_ns = 0;  // from its arrival to the queue
  int64_t encode_ns = 0;  // from the end of the computation to the answer
  int64_t total_ns = 0;
};
// "decode_us=1.2;queue_us=0.0;compute_us=3.4;encode_us=0.9;batch_rows=1".
std::string TimingText(const TimeSplit& split,
                       const serving::TaskTiming& timing);

// Tells a refused caller when to try again, where `status` says so
// (batching/retry_after.h): gRPC's clients wait that long before their next
// attempt.
void AddRetryPushback(const absl::Status& status, grpc::ServerContext& context);

}  // namespace fff::rpc

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "opentelemetry/trace_service.pb.h"

namespace fff::rpc {

// Where spans go.
struct OtlpEndpoint {
  std::string target;  // "collector:4317"; "" = nowhere
  bool tls = false;
};
// Reads "collector:4317", "http://collector:4317" (plain text) or
// "https://collector:4317"; a port that is left out is 4317, an address of IPv6
// stands in brackets. INVALID_ARGUMENT for anything else, such as a path, which
// OTLP over gRPC does not have.
absl::StatusOr<OtlpEndpoint> ParseOtlpEndpoint(absl::string_view text);

// What became of one batch.
struct Sent {
  absl::Status status;
  // Of a batch that was taken: spans that the receiver refused, and why.
  int64_t rejected = 0;
  std::string reason;
  // Of one that was not: whether another try may pass, and when the receiver
  // wants it.
  bool retry = false;
  std::optional<absl::Duration> retry_delay;
};

// Sends batches to a receiver, one at a time.
class SpanSender {
 public:
  virtual ~SpanSender() = default;
  // Blocks for `timeout` at most.
  virtual Sent Send(const opentelemetry::proto::collector::trace::v1::
                        ExportTraceServiceRequest& request,
                    absl::Duration timeout) = 0;
  // Any thread: ends the Send that is under way, and all later ones at once.
  virtual void Cancel() = 0;
};

// Over OTLP/gRPC. Connects when the first batch is sent, and again after the
// receiver was away. `ca_file`: PEM certificates of which the receiver's must
// be signed, "" for the system's; with TLS alone. Reads that file; the errors
// of base::FileBytes.
absl::StatusOr<std::unique_ptr<SpanSender>> MakeOtlpSender(
    const OtlpEndpoint& endpoint, const std::string& ca_file);

}  // namespace fff::rpc

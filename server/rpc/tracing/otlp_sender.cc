#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "opentelemetry/trace_service.grpc.pb.h"
#include "server/base/file_bytes.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/rpc/tracing/span_sender.h"

namespace fff::rpc {
namespace {

namespace otlp = opentelemetry::proto::collector::trace::v1;

constexpr int kDefaultPort = 4317;  // that OTLP over gRPC is registered with

absl::Status BadEndpoint(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("got '", base::Printable(text),
                   "', wanted host:port, http://host:port or "
                   "https://host:port of a receiver of OTLP over gRPC"));
}

// Which failures OTLP wants to be tried again.
bool MayPass(grpc::StatusCode code, bool told_when) {
  switch (code) {
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DATA_LOSS:
      return true;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return told_when;
    default:
      return false;
  }
}

std::optional<absl::Duration> RetryDelay(const grpc::Status& status) {
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return std::nullopt;
  for (const google::protobuf::Any& detail : rich.details()) {
    google::rpc::RetryInfo info;
    if (!detail.UnpackTo(&info)) continue;
    return absl::Seconds(info.retry_delay().seconds()) +
           absl::Nanoseconds(info.retry_delay().nanos());
  }
  return std::nullopt;
}

Sent Outcome(const grpc::Status& status,
             const otlp::ExportTraceServiceResponse& response) {
  Sent sent;
  if (status.ok()) {
    sent.rejected = response.partial_success().rejected_spans();
    sent.reason = response.partial_success().error_message();
    return sent;
  }
  sent.status = absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                             status.error_message());
  sent.retry_delay = RetryDelay(status);
  sent.retry = MayPass(status.error_code(), sent.retry_delay.has_value());
  return sent;
}

std::shared_ptr<grpc::Channel> Channel(const OtlpEndpoint& endpoint,
                                       const std::string& ca) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = ca;
  grpc::ChannelArguments arguments;
  // A receiver that is back is found soon; gRPC would wait for up to 2 minutes.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  return grpc::CreateCustomChannel(endpoint.target,
                                   endpoint.tls
                                       ? grpc::SslCredentials(tls)
                                       : grpc::InsecureChannelCredentials(),
                                   arguments);
}

// How often an export that is under way is looked at.
constexpr absl::Duration kLook = absl::Milliseconds(10);

// Waits for the receiver without polling sockets: gRPC's threads share one set
// of them, so a thread that blocks in a call takes the server's requests from
// the completion queues' threads and hands them over. With a receiver that
// takes its time that cost about half as much CPU time per request again
// (serving_bench, one row, 64 calls at once, two cores, in two runs). Those
// threads see the answer, and this one looks whether it has come.
class OtlpSender final : public SpanSender {
 public:
  OtlpSender(const OtlpEndpoint& endpoint, const std::string& ca)
      : stub_(otlp::TraceService::NewStub(Channel(endpoint, ca))) {}

  ~OtlpSender() override {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  Sent Send(const otlp::ExportTraceServiceRequest& request,
            absl::Duration timeout) override {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         absl::ToChronoMicroseconds(timeout));
    otlp::ExportTraceServiceResponse response;
    grpc::Status status;
    const auto call = stub_->AsyncExport(&context, request, &queue_);
    call->Finish(&response, &status, this);
    AwaitAnswer(context);
    return Outcome(status, response);
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
  }

 private:
  // Until the call's one event has come.
  void AwaitAnswer(grpc::ClientContext& context) {
    void* tag = nullptr;
    bool ok = false;
    const std::chrono::system_clock::time_point at_once;
    while (queue_.AsyncNext(&tag, &ok, at_once) ==
           grpc::CompletionQueue::TIMEOUT) {
      absl::MutexLock lock(&mutex_);
      if (!mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), kLook)) {
        continue;
      }
      context.TryCancel();
      queue_.Next(&tag, &ok);  // comes at once now
      return;
    }
  }

  const std::unique_ptr<otlp::TraceService::Stub> stub_;
  grpc::CompletionQueue queue_;
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<OtlpEndpoint> ParseOtlpEndpoint(absl::string_view text) {
  OtlpEndpoint endpoint;
  absl::string_view rest = text;
  endpoint.tls = absl::ConsumePrefix(&rest, "https://");
  if (!endpoint.tls) absl::ConsumePrefix(&rest, "http://");
  absl::ConsumeSuffix(&rest, "/");
  // Of an address of IPv6, the colons in brackets separate nothing.
  const size_t address_end = rest.find(']') == rest.npos ? 0 : rest.find(']');
  const size_t colon = rest.find(':', address_end);
  const absl::string_view host = rest.substr(0, colon);
  int port = kDefaultPort;
  if (colon != rest.npos && (!absl::SimpleAtoi(rest.substr(colon + 1), &port) ||
                             port < 1 || port > 65535)) {
    return BadEndpoint(text);
  }
  const bool bracketed = absl::StartsWith(host, "[") &&
                         absl::EndsWith(host, "]") && host.size() > 2;
  if (host.empty() || host.find_first_of("/?#@ ,\t") != host.npos ||
      (!bracketed && host.find_first_of("[]") != host.npos)) {
    return BadEndpoint(text);
  }
  endpoint.target = absl::StrCat(host, ":", port);
  return endpoint;
}

absl::StatusOr<std::unique_ptr<SpanSender>> MakeOtlpSender(
    const OtlpEndpoint& endpoint, const std::string& ca_file) {
  std::string ca;
  if (!ca_file.empty()) {
    FFF_ASSIGN_OR_RETURN(const auto file, base::FileBytes::Read(ca_file));
    ca.assign(reinterpret_cast<const char*>(file->bytes().data()),
              file->bytes().size());
  }
  return std::make_unique<OtlpSender>(endpoint, ca);
}

}  // namespace fff::rpc

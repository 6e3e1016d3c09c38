#include "server/rpc/messages/status_mapping.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/time_util.h>

#include <chrono>
#include <string>

#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/base/log.h"
#include "server/rpc/messages/bad_field.h"
#include "server/serving/batching/retry_after.h"

namespace fff::rpc {
namespace {

// What `c` takes in the header: Printable writes control characters as \xNN,
// and gRPC percent-encodes everything that is not printable ASCII.
size_t HeaderBytes(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte < 0x20 || byte == 0x7f) return 4;
  return byte > 0x7f || byte == '%' ? 3 : 1;
}

// The whole characters of `message` that take at most so many bytes of a
// header.
size_t SentBytes(absl::string_view message, size_t header_bytes_max) {
  size_t header_bytes = 0;
  size_t sent = 0;
  while (sent < message.size()) {
    header_bytes += HeaderBytes(message[sent]);
    if (header_bytes > header_bytes_max) break;
    ++sent;
  }
  const auto inside_character = [&] {
    return (static_cast<unsigned char>(message[sent]) & 0xc0) == 0x80;
  };
  for (int i = 0;
       i < 3 && sent > 0 && sent < message.size() && inside_character(); ++i) {
    --sent;
  }
  return sent;
}

// A google.rpc.Status with one detail.
std::string Details(grpc::StatusCode code, const std::string& message,
                    const google::protobuf::Message& detail) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  status.add_details()->PackFrom(detail);
  return status.SerializeAsString();
}

google::rpc::RetryInfo RetryInfo(std::chrono::milliseconds delay) {
  google::rpc::RetryInfo info;
  *info.mutable_retry_delay() =
      google::protobuf::util::TimeUtil::MillisecondsToDuration(delay.count());
  return info;
}

google::rpc::BadRequest BadRequest(const std::string& field,
                                   const std::string& description) {
  google::rpc::BadRequest request;
  auto& violation = *request.add_field_violations();
  violation.set_field(field);
  violation.set_description(description);
  return request;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto sent = [&status](size_t header_bytes_max) {
    return base::Printable(status.message(),
                           SentBytes(status.message(), header_bytes_max));
  };
  grpc::Status mapped(static_cast<grpc::StatusCode>(status.code()), sent(4096));
  auto delay = serving::RetryAfter(status);
  if (delay == serving::kNeverRetry) delay.reset();  // RetryInfo has no such
  const auto field = BadField(status);
  if (!delay.has_value() && !field.has_value()) return mapped;
  // The header of the details holds the message up to twice, in base64, and all
  // headers together must stay below 8 KiB.
  const std::string message = sent(768);
  const grpc::StatusCode code = mapped.error_code();
  return {code, mapped.error_message(),
          delay.has_value()
              ? Details(code, message, RetryInfo(*delay))
              : Details(code, message, BadRequest(*field, message))};
}

}  // namespace fff::rpc

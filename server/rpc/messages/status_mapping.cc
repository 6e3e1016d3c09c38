#include "server/rpc/messages/status_mapping.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <chrono>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
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

using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;

constexpr uint32_t LengthDelimited(uint32_t field) { return field << 3 | 2; }
constexpr uint32_t Varint(uint32_t field) { return field << 3; }

void WriteBytes(uint32_t field, const std::string& bytes,
                CodedOutputStream& out) {
  out.WriteTag(LengthDelimited(field));
  out.WriteVarint32(static_cast<uint32_t>(bytes.size()));
  out.WriteString(bytes);
}

std::string Written(const std::function<void(CodedOutputStream&)>& write) {
  std::string bytes;
  {
    StringOutputStream stream(&bytes);
    CodedOutputStream out(&stream);
    write(out);
  }
  return bytes;
}

// The messages of google.rpc are written by hand: Debian has no package of
// them.

// RetryInfo{retry_delay = 1: Duration{seconds = 1, nanos = 2}}.
std::string RetryInfo(std::chrono::milliseconds delay) {
  const std::string duration = Written([&](CodedOutputStream& out) {
    out.WriteTag(Varint(1));
    out.WriteVarint64(static_cast<uint64_t>(delay.count() / 1000));
    out.WriteTag(Varint(2));
    out.WriteVarint64(static_cast<uint64_t>(delay.count() % 1000) * 1'000'000);
  });
  return Written([&](CodedOutputStream& out) { WriteBytes(1, duration, out); });
}

// BadRequest{field_violations = 1: {field = 1, description = 2}}.
std::string BadRequest(const std::string& field,
                       const std::string& description) {
  const std::string violation = Written([&](CodedOutputStream& out) {
    WriteBytes(1, field, out);
    WriteBytes(2, description, out);
  });
  return Written(
      [&](CodedOutputStream& out) { WriteBytes(1, violation, out); });
}

// Status{code = 1, message = 2, details = 3} with one detail, an Any{type_url =
// 1, value = 2} of google.rpc.`type`.
std::string Details(grpc::StatusCode code, const std::string& message,
                    absl::string_view type, const std::string& value) {
  const std::string any = Written([&](CodedOutputStream& out) {
    WriteBytes(1, absl::StrCat("type.googleapis.com/google.rpc.", type), out);
    WriteBytes(2, value, out);
  });
  return Written([&](CodedOutputStream& out) {
    out.WriteTag(Varint(1));
    out.WriteVarint32(static_cast<uint32_t>(code));
    WriteBytes(2, message, out);
    WriteBytes(3, any, out);
  });
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto sent = [&status](size_t header_bytes_max) {
    return base::Printable(status.message(),
                           SentBytes(status.message(), header_bytes_max));
  };
  grpc::Status mapped(static_cast<grpc::StatusCode>(status.code()), sent(4096));
  const auto delay = serving::RetryAfter(status);
  const auto field = BadField(status);
  if (!delay.has_value() && !field.has_value()) return mapped;
  // The header of the details holds the message up to twice, in base64, and all
  // headers together must stay below 8 KiB.
  const std::string message = sent(768);
  return grpc::Status(mapped.error_code(), mapped.error_message(),
                      delay.has_value()
                          ? Details(mapped.error_code(), message, "RetryInfo",
                                    RetryInfo(*delay))
                          : Details(mapped.error_code(), message, "BadRequest",
                                    BadRequest(*field, message)));
}

}  // namespace fff::rpc

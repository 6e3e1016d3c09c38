#include "server/rpc/status_mapping.h"

#include <string>

#include "absl/strings/string_view.h"
#include "server/base/log.h"

namespace fff::rpc {
namespace {

// What `c` takes in the header: Printable writes control characters as \xNN,
// and gRPC percent-encodes everything that is not printable ASCII.
size_t HeaderBytes(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte < 0x20 || byte == 0x7f) return 4;
  return byte > 0x7f || byte == '%' ? 3 : 1;
}

// The length of the part of `message` that is sent, whole UTF-8 characters.
size_t SentBytes(absl::string_view message) {
  constexpr size_t kHeaderBytesMax = 4096;
  size_t header_bytes = 0;
  size_t sent = 0;
  while (sent < message.size()) {
    header_bytes += HeaderBytes(message[sent]);
    if (header_bytes > kHeaderBytesMax) break;
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

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(
      static_cast<grpc::StatusCode>(status.code()),
      base::Printable(status.message(), SentBytes(status.message())));
}

}  // namespace fff::rpc

#include "server/rpc/messages/string_field.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <cstdint>

#include "server/base/utf8.h"

namespace fff::rpc {
namespace {

// What generated code parses and skips fields with.
using WireFormat = google::protobuf::internal::WireFormatLite;

constexpr uint32_t kFieldBytesMax = 4 << 10;

}  // namespace

std::string StringField(grpc::ByteBuffer& bytes, int number) {
  grpc::ProtoBufferReader reader(&bytes);
  if (!reader.status().ok()) return "";
  google::protobuf::io::CodedInputStream in(&reader);
  const uint32_t wanted =
      WireFormat::MakeTag(number, WireFormat::WIRETYPE_LENGTH_DELIMITED);
  std::string value;
  for (uint32_t tag = in.ReadTag(); tag != 0; tag = in.ReadTag()) {
    if (tag != wanted) {
      if (!WireFormat::SkipField(&in, tag)) return "";
      continue;
    }
    uint32_t size = 0;
    if (!in.ReadVarint32(&size) || size > kFieldBytesMax ||
        !in.ReadString(&value, static_cast<int>(size))) {
      return "";
    }
  }
  if (!in.ConsumedEntireMessage() || !base::IsUtf8(value)) return "";
  return value;
}

}  // namespace fff::rpc

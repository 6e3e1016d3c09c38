#include "server/rpc/message_reuse.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "server/base/utf8.h"

namespace fff::rpc {
namespace {

// A field of a message (protobuf's encoding): its number and wire type, then
// its value.
enum WireType : uint32_t {
  kVarint = 0,
  kFixed64 = 1,
  kBytes = 2,
  kFixed32 = 5
};
constexpr int kWireTypeBits = 3;
constexpr uint32_t kWireTypeMask = (1 << kWireTypeBits) - 1;

constexpr uint32_t kFieldBytesMax = 4 << 10;

// False when the message ends within the value. Groups (wire types 3 and 4) are
// not skipped: no message of ours has any.
bool SkipValue(google::protobuf::io::CodedInputStream& in, uint32_t wire_type) {
  uint64_t varint = 0;
  uint32_t size = 0;
  switch (wire_type) {
    case kVarint:
      return in.ReadVarint64(&varint);
    case kFixed64:
      return in.Skip(8);
    case kBytes:
      return in.ReadVarint32(&size) && in.Skip(static_cast<int>(size));
    case kFixed32:
      return in.Skip(4);
    default:
      return false;
  }
}

}  // namespace

void ClearKeepingBuffers(v1::PredictRequest& message) {
  v1::Tensor* const input = message.release_input();
  message.Clear();
  if (input == nullptr) return;
  input->Clear();
  message.set_allocated_input(input);
}

void ClearKeepingBuffers(v1::PredictResponse& message) {
  v1::Tensor* const output = message.release_output();
  v1::Timing* const timing = message.release_timing();
  message.Clear();
  if (output != nullptr) {
    output->Clear();
    message.set_allocated_output(output);
  }
  if (timing != nullptr) {
    timing->Clear();
    message.set_allocated_timing(timing);
  }
}

// Their tensors are repeated fields, whose elements Clear keeps.
void ClearKeepingBuffers(inference::ModelInferRequest& message) {
  message.Clear();
}
void ClearKeepingBuffers(inference::ModelInferResponse& message) {
  message.Clear();
}

bool ParseInto(grpc::ByteBuffer& bytes,
               google::protobuf::MessageLite& cleared) {
  const auto size = static_cast<int>(bytes.Length());
  bool parsed = false;
  {
    grpc::ProtoBufferReader reader(&bytes);
    parsed = reader.status().ok() &&
             cleared.MergeFromBoundedZeroCopyStream(&reader, size);
  }
  bytes.Clear();
  return parsed;
}

std::string StringField(grpc::ByteBuffer& bytes, int number) {
  grpc::ProtoBufferReader reader(&bytes);
  if (!reader.status().ok()) return "";
  google::protobuf::io::CodedInputStream in(&reader);
  const uint32_t wanted =
      (static_cast<uint32_t>(number) << kWireTypeBits) | kBytes;
  std::string value;
  for (uint32_t tag = in.ReadTag(); tag != 0; tag = in.ReadTag()) {
    if (tag != wanted) {
      if (!SkipValue(in, tag & kWireTypeMask)) return "";
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

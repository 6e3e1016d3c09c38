#include "server/rpc/messages/message_reuse.h"

#include <grpcpp/support/proto_buffer_reader.h>

namespace fff::rpc {

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

}  // namespace fff::rpc

#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "fff/v1/inference.pb.h"
#include "inference/grpc_service.pb.h"

// Messages that are used for one request after another. protobuf's Clear keeps
// the buffers of strings and repeated fields but deletes singular
// sub-messages, and with them a tensor's bytes: a request of one small row
// allocates and frees eight times. These keep them.
namespace fff::rpc {

// As message.Clear(), but a sub-message that was there stays, cleared:
// has_input(), has_output() and has_timing() stay true.
void ClearKeepingBuffers(v1::PredictRequest& message);
void ClearKeepingBuffers(v1::PredictResponse& message);
void ClearKeepingBuffers(inference::ModelInferRequest& message);
void ClearKeepingBuffers(inference::ModelInferResponse& message);

// Parses `bytes`, which are empty afterwards, into a message that is cleared
// in either way. False when they are no such message; then some fields may be
// set.
bool ParseInto(grpc::ByteBuffer& bytes, google::protobuf::MessageLite& cleared);

}  // namespace fff::rpc

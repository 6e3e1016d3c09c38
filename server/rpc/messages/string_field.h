#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <string>

namespace fff::rpc {

// The string field `number` of the message in `bytes`, which stay as they are,
// found without parsing or copying the rest: what a request that is refused
// unparsed is known by. Empty when the field is not there, longer than 4 KiB or
// not UTF-8, or `bytes` are no message.
std::string StringField(grpc::ByteBuffer& bytes, int number);

}  // namespace fff::rpc

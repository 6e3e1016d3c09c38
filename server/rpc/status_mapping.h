#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace fff::rpc {

// The one place where a Status becomes a gRPC status. Codes are numerically
// equal; the message goes out as it is, cut at 4 KiB because it travels in an
// HTTP/2 header, whose size peers limit (8 KiB by default).
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace fff::rpc

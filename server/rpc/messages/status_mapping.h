#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace fff::rpc {

// The one place where a Status becomes a gRPC status. Codes are numerically
// equal; the message goes out as it is, control characters written as \xNN, cut
// where it would take more than 4 KiB of the HTTP/2 header that it travels in,
// because peers limit the size of that (8 KiB by default). A time to retry
// after (batching/retry_after.h) becomes a google.rpc.RetryInfo in the details,
// a field that was wrong (bad_field.h) a google.rpc.BadRequest.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace fff::rpc

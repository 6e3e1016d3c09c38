#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace fff::client {

// Same code, same message: the two code tables are equal by design.
inline absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

}  // namespace fff::client

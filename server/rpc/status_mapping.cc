#include "server/rpc/status_mapping.h"

#include <string>

#include "server/base/log.h"

namespace fff::rpc {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  constexpr size_t kMessageBytesMax = 4096;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      base::Printable(status.message(), kMessageBytesMax));
}

}  // namespace fff::rpc

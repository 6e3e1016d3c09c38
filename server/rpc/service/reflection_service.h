#pragma once

#include <set>
#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"

namespace fff::rpc {

// grpc.reflection.v1 over the messages that are linked in. v1alpha is served by
// gRPC itself. Thread-safe.
class ReflectionService final
    : public grpc::reflection::v1::ServerReflection::Service {
 public:
  // `services` are full names, told in that order.
  explicit ReflectionService(std::vector<std::string> services)
      : services_(std::move(services)) {}

  grpc::Status ServerReflectionInfo(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<grpc::reflection::v1::ServerReflectionResponse,
                               grpc::reflection::v1::ServerReflectionRequest>*
          stream) override;

  // One answer; `sent` holds the names of the files that the stream was sent.
  grpc::reflection::v1::ServerReflectionResponse Answer(
      const grpc::reflection::v1::ServerReflectionRequest& request,
      std::set<std::string>& sent) const;

 private:
  const std::vector<std::string> services_;
};

}  // namespace fff::rpc

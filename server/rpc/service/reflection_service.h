#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/rpc/transport/call_environment.h"

namespace fff::rpc {

// What reflection answers about the messages that are linked in. Immutable.
class Reflection {
 public:
  // `services` are full names, told in that order.
  explicit Reflection(std::vector<std::string> services)
      : services_(std::move(services)) {}

  // One answer; `sent` holds the names of the files that the stream was sent.
  grpc::reflection::v1::ServerReflectionResponse Answer(
      const grpc::reflection::v1::ServerReflectionRequest& request,
      std::set<std::string>& sent) const;

 private:
  const std::vector<std::string> services_;
};

// grpc.reflection.v1. Thread-safe.
class ReflectionService final
    : public grpc::reflection::v1::ServerReflection::Service {
 public:
  // Both outlive the service.
  ReflectionService(const Reflection* reflection,
                    const CallEnvironment* environment)
      : reflection_(reflection), environment_(environment) {}

  grpc::Status ServerReflectionInfo(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<grpc::reflection::v1::ServerReflectionResponse,
                               grpc::reflection::v1::ServerReflectionRequest>*
          stream) override;

 private:
  const Reflection* const reflection_;
  const CallEnvironment* const environment_;
};

// The same as grpc.reflection.v1alpha.
class ReflectionAlphaService final
    : public grpc::reflection::v1alpha::ServerReflection::Service {
 public:
  ReflectionAlphaService(const Reflection* reflection,
                         const CallEnvironment* environment)
      : reflection_(reflection), environment_(environment) {}

  grpc::Status ServerReflectionInfo(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<
          grpc::reflection::v1alpha::ServerReflectionResponse,
          grpc::reflection::v1alpha::ServerReflectionRequest>* stream) override;

 private:
  const Reflection* const reflection_;
  const CallEnvironment* const environment_;
};

}  // namespace fff::rpc

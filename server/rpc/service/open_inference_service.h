#pragma once

#include <cstdint>
#include <functional>

#include "inference/grpc_service.grpc.pb.h"
#include "server/rpc/access/admin_access.h"
#include "server/rpc/transport/call_environment.h"
#include "server/serving/repository/model_repository.h"

namespace fff::rpc {

// The Open Inference Protocol's calls other than ModelInfer and
// ModelStreamInfer, which run on completion queues (infer_queue.h).
// Thread-safe.
class OpenInferenceService final : public AsyncOpenInferenceBase {
 public:
  // `is_ready` says whether the server as a whole wants traffic. The arguments
  // outlive the service.
  OpenInferenceService(serving::ModelRepository* repository,
                       const AdminAccess* admin, int64_t max_message_bytes,
                       std::function<bool()> is_ready)
      : repository_(repository),
        registry_(repository->registry()),
        admin_(admin),
        max_message_bytes_(max_message_bytes),
        is_ready_(std::move(is_ready)) {}

  grpc::Status ServerLive(grpc::ServerContext*,
                          const inference::ServerLiveRequest*,
                          inference::ServerLiveResponse* response) override;
  grpc::Status ServerReady(grpc::ServerContext*,
                           const inference::ServerReadyRequest*,
                           inference::ServerReadyResponse* response) override;
  grpc::Status ModelReady(grpc::ServerContext*,
                          const inference::ModelReadyRequest* request,
                          inference::ModelReadyResponse* response) override;
  grpc::Status ServerMetadata(
      grpc::ServerContext*, const inference::ServerMetadataRequest*,
      inference::ServerMetadataResponse* response) override;
  grpc::Status ModelMetadata(
      grpc::ServerContext*, const inference::ModelMetadataRequest* request,
      inference::ModelMetadataResponse* response) override;
  grpc::Status ModelConfig(grpc::ServerContext*,
                           const inference::ModelConfigRequest* request,
                           inference::ModelConfigResponse* response) override;
  grpc::Status ModelStatistics(
      grpc::ServerContext*, const inference::ModelStatisticsRequest* request,
      inference::ModelStatisticsResponse* response) override;
  grpc::Status RepositoryIndex(
      grpc::ServerContext*, const inference::RepositoryIndexRequest* request,
      inference::RepositoryIndexResponse* response) override;
  // Both run on the caller's thread of gRPC and need admin access.
  grpc::Status RepositoryModelLoad(
      grpc::ServerContext* context,
      const inference::RepositoryModelLoadRequest* request,
      inference::RepositoryModelLoadResponse* response) override;
  grpc::Status RepositoryModelUnload(
      grpc::ServerContext* context,
      const inference::RepositoryModelUnloadRequest* request,
      inference::RepositoryModelUnloadResponse* response) override;

 private:
  serving::ModelRepository* const repository_;
  const serving::ModelRegistry* const registry_;
  const AdminAccess* const admin_;
  const int64_t max_message_bytes_;  // told in the metadata
  const std::function<bool()> is_ready_;
};

}  // namespace fff::rpc

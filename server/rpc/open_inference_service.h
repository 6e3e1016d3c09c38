#pragma once

#include <functional>

#include "inference/grpc_service.grpc.pb.h"
#include "server/rpc/call_environment.h"
#include "server/serving/model_registry.h"

namespace fff::rpc {

// The Open Inference Protocol's calls other than ModelInfer, which runs on
// completion queues (infer_queue.h). Thread-safe.
class OpenInferenceService final : public AsyncOpenInferenceBase {
 public:
  // `is_ready` says whether the server as a whole wants traffic. Both arguments
  // outlive the service.
  OpenInferenceService(const serving::ModelRegistry* registry,
                       std::function<bool()> is_ready)
      : registry_(registry), is_ready_(std::move(is_ready)) {}

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

 private:
  const serving::ModelRegistry* const registry_;
  const std::function<bool()> is_ready_;
};

}  // namespace fff::rpc

#include "server/rpc/open_inference_service.h"

#include "server/base/status_macros.h"
#include "server/rpc/decode.h"
#include "server/rpc/model_messages.h"
#include "server/rpc/status_mapping.h"
#include "server/rpc/version.h"

namespace fff::rpc {
namespace {

absl::StatusOr<std::shared_ptr<const serving::Servable>> Find(
    const serving::ModelRegistry& registry, const std::string& name,
    const std::string& version) {
  FFF_ASSIGN_OR_RETURN(const int64_t number, DecodeVersion(version));
  return registry.Find(name, number);
}

// All versions of the model that `servable` belongs to.
std::vector<serving::VersionStatus> Siblings(
    const serving::ModelRegistry& registry, const serving::Servable& servable) {
  return registry.ListModel(servable.parts().model_name);
}

}  // namespace

grpc::Status OpenInferenceService::ServerLive(
    grpc::ServerContext*, const inference::ServerLiveRequest*,
    inference::ServerLiveResponse* response) {
  response->set_live(true);
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::ServerReady(
    grpc::ServerContext*, const inference::ServerReadyRequest*,
    inference::ServerReadyResponse* response) {
  response->set_ready(is_ready_());
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::ModelReady(
    grpc::ServerContext*, const inference::ModelReadyRequest* request,
    inference::ModelReadyResponse* response) {
  const auto found = Find(*registry_, request->name(), request->version());
  response->set_ready(found.ok());
  // Loading and failed models are known and not ready; unknown ones an error.
  if (absl::IsUnavailable(found.status())) return grpc::Status::OK;
  return ToGrpc(found.status());
}

grpc::Status OpenInferenceService::ServerMetadata(
    grpc::ServerContext*, const inference::ServerMetadataRequest*,
    inference::ServerMetadataResponse* response) {
  response->set_name(kServerName);
  response->set_version(kServerVersion);
  // Only what is real; clients switch features on by these names.
  for (const char* extension : {"model_configuration", "statistics",
                                "parameters", "binary_tensor_data"}) {
    response->add_extensions(extension);
  }
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::ModelMetadata(
    grpc::ServerContext*, const inference::ModelMetadataRequest* request,
    inference::ModelMetadataResponse* response) {
  const auto found = Find(*registry_, request->name(), request->version());
  if (!found.ok()) return ToGrpc(found.status());
  FillMetadata(**found, Siblings(*registry_, **found), *response);
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::ModelConfig(
    grpc::ServerContext*, const inference::ModelConfigRequest* request,
    inference::ModelConfigResponse* response) {
  const auto found = Find(*registry_, request->name(), request->version());
  if (!found.ok()) return ToGrpc(found.status());
  FillConfig(**found, *response->mutable_config());
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::ModelStatistics(
    grpc::ServerContext*, const inference::ModelStatisticsRequest* request,
    inference::ModelStatisticsResponse* response) {
  if (!request->name().empty()) {
    const auto found = Find(*registry_, request->name(), request->version());
    if (!found.ok()) return ToGrpc(found.status());
    FillStatistics(**found, *response->add_model_stats());
    return grpc::Status::OK;
  }
  for (const serving::VersionStatus& status : registry_->List()) {
    if (status.state != serving::VersionState::kReady) continue;
    FillStatistics(*status.fff, *response->add_model_stats());
    FillStatistics(*status.dense, *response->add_model_stats());
  }
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::RepositoryIndex(
    grpc::ServerContext*, const inference::RepositoryIndexRequest* request,
    inference::RepositoryIndexResponse* response) {
  if (!request->repository_name().empty()) {
    return ToGrpc(absl::InvalidArgumentError(
        "got a repository_name, wanted none: the server has one repository"));
  }
  for (const serving::VersionStatus& status : registry_->List()) {
    AppendIndex(status, request->ready(), *response);
  }
  return grpc::Status::OK;
}

}  // namespace fff::rpc

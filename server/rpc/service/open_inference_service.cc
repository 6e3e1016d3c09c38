#include "server/rpc/service/open_inference_service.h"

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/rpc/messages/decode.h"
#include "server/rpc/messages/model_messages.h"
#include "server/rpc/messages/status_mapping.h"
#include "server/rpc/messages/version.h"

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

absl::Status CheckRepositoryName(const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "got a repository_name, wanted none: the server has one repository");
}

// Parameters would change what is loaded: one that is not known is an error.
// `ignored` is about models that this server does not have.
template <class Parameters>
absl::Status CheckParameters(const Parameters& parameters,
                             absl::string_view ignored) {
  for (const auto& [name, value] : parameters) {
    if (name == ignored) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "got parameter '", base::Printable(name),
        "', wanted none: models are loaded from the repository as they are"));
  }
  return absl::OkStatus();
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
  for (const char* extension :
       {"model_configuration", "statistics", "parameters", "binary_tensor_data",
        "model_repository"}) {
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
  (*response->mutable_properties())["max_message_bytes"] =
      absl::StrCat(max_message_bytes_);
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
    if (status.dense == nullptr) continue;
    FillStatistics(*status.dense, *response->add_model_stats());
  }
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::RepositoryIndex(
    grpc::ServerContext*, const inference::RepositoryIndexRequest* request,
    inference::RepositoryIndexResponse* response) {
  const absl::Status named = CheckRepositoryName(request->repository_name());
  if (!named.ok()) return ToGrpc(named);
  for (const serving::VersionStatus& status : registry_->List()) {
    AppendIndex(status, request->ready(), *response);
  }
  return grpc::Status::OK;
}

grpc::Status OpenInferenceService::RepositoryModelLoad(
    grpc::ServerContext* context,
    const inference::RepositoryModelLoadRequest* request,
    inference::RepositoryModelLoadResponse* /*response*/) {
  const auto load = [&]() -> absl::Status {
    FFF_RETURN_IF_ERROR(admin_->Check(*context, "RepositoryModelLoad"));
    FFF_RETURN_IF_ERROR(CheckRepositoryName(request->repository_name()));
    FFF_RETURN_IF_ERROR(CheckParameters(request->parameters(), ""));
    return repository_->Load(request->model_name(), /*version=*/0);
  };
  return ToGrpc(load());
}

grpc::Status OpenInferenceService::RepositoryModelUnload(
    grpc::ServerContext* context,
    const inference::RepositoryModelUnloadRequest* request,
    inference::RepositoryModelUnloadResponse* /*response*/) {
  const auto unload = [&]() -> absl::Status {
    FFF_RETURN_IF_ERROR(admin_->Check(*context, "RepositoryModelUnload"));
    FFF_RETURN_IF_ERROR(CheckRepositoryName(request->repository_name()));
    FFF_RETURN_IF_ERROR(
        CheckParameters(request->parameters(), "unload_dependents"));
    return repository_->Unload(request->model_name(), /*version=*/0,
                               UnloadTimeout(*context));
  };
  return ToGrpc(unload());
}

}  // namespace fff::rpc

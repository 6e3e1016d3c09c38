#pragma once

#include <vector>

#include "fff/v1/inference.pb.h"
#include "inference/grpc_service.pb.h"
#include "server/serving/repository/model_registry.h"

// What the server knows of its models, as messages of both APIs. Pure.
namespace fff::rpc {

// The platform that metadata and configuration name.
inline constexpr char kPlatform[] = "fff_serving";

// Two entries a version: the FFF model and its dense twin.
void AppendSummaries(const serving::VersionStatus& status,
                     v1::ListModelsResponse& response);
// One entry: the FFF model.
v1::ModelSummary Summarize(const serving::VersionStatus& status);
// `siblings` are all versions of the same model.
v1::GetModelResponse DescribeModel(
    const serving::Servable& servable,
    const std::vector<serving::VersionStatus>& siblings);

void FillMetadata(const serving::Servable& servable,
                  const std::vector<serving::VersionStatus>& siblings,
                  inference::ModelMetadataResponse& response);
void FillConfig(const serving::Servable& servable,
                inference::ModelConfig& config);
void FillStatistics(const serving::Servable& servable,
                    inference::ModelStatistics& statistics);
void AppendIndex(const serving::VersionStatus& status, bool only_ready,
                 inference::RepositoryIndexResponse& response);

}  // namespace fff::rpc

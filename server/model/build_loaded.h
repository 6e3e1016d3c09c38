#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/builder.h"
#include "server/model/loaded_layer.h"
#include "server/model/model_config.h"

// BuildModel and BuildCostTwin over layers that are loaded already, so that a
// version reads its checkpoint once and model and twin share what they can.
// `source` is the checkpoint's file, for messages.
namespace fff::model {

// config.precision as the engine's value.
engine::Precision PrecisionOf(const ModelConfig& config);

absl::StatusOr<std::shared_ptr<const Model>> BuildModelOf(
    const ModelConfig& config, absl::Span<const LoadedLayer> layers,
    const std::string& source, const BuildOptions& options);

absl::StatusOr<DenseTwin> BuildCostTwinOf(const ModelConfig& config,
                                          absl::Span<const LoadedLayer> layers,
                                          const std::string& source,
                                          const BuildOptions& options);

}  // namespace fff::model

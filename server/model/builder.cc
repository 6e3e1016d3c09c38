#include "server/model/builder.h"

#include <vector>

#include "server/base/status_macros.h"
#include "server/model/build_loaded.h"
#include "server/model/chain.h"
#include "server/model/loaded_layer.h"

namespace fff::model {

engine::Precision PrecisionOf(const ModelConfig& config) {
  if (config.precision == "bf16") return engine::Precision::kBf16;
  if (config.precision == "int8") return engine::Precision::kInt8;
  return engine::Precision::kFp32;
}

absl::StatusOr<std::shared_ptr<const Model>> BuildModelOf(
    const ModelConfig& config, absl::Span<const LoadedLayer> layers,
    const std::string& source, const BuildOptions& options) {
  BuildOptions own = options;
  own.precision = PrecisionOf(config);
  own.dense_allowed = config.engine == EngineChoice::kAuto;
  return BuildChain(config.input, config.output, layers, {source, "layers"},
                    own);
}

absl::StatusOr<std::shared_ptr<const Model>> BuildModel(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint,
    const BuildOptions& options) {
  FFF_ASSIGN_OR_RETURN(const std::vector<LoadedLayer> layers,
                       LoadLayers(config.layers, checkpoint));
  return BuildModelOf(config, layers, checkpoint.source(), options);
}

}  // namespace fff::model

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/model/build_loaded.h"
#include "server/model/builder.h"
#include "server/model/chain.h"
#include "server/model/dense_names.h"
#include "server/model/dense_neurons.h"
#include "server/model/loaded_layer.h"

namespace fff::model {
namespace {

constexpr size_t kPartsShown = 4;

std::string CostDescription(std::vector<std::string> neurons) {
  if (neurons.empty()) {
    return "the same network: the model has no FFF layer to hold it against";
  }
  if (neurons.size() > kPartsShown) {
    const size_t more = neurons.size() - kPartsShown;
    neurons.resize(kPartsShown);
    neurons.push_back(absl::StrCat(more, " more layers"));
  }
  return absl::StrCat("cost baseline: the FFF's own ",
                      absl::StrJoin(neurons, " + "),
                      " evaluated densely; outputs carry no meaning");
}

// "784 -> 128 relu -> 10".
std::string NetworkOf(const std::vector<LoadedLayer>& layers, int64_t input) {
  std::string text = absl::StrCat(input);
  for (const LoadedLayer& layer : layers) {
    if (const auto* linear = std::get_if<LoadedLinear>(&layer)) {
      const engine::DenseProblem& problem = linear->weights->problem;
      absl::StrAppend(&text, " -> ", problem.output_width);
      if (problem.activation != engine::Activation::kIdentity) {
        absl::StrAppend(&text, " ", engine::Name(problem.activation));
      }
    } else if (const auto* act = std::get_if<ActivationLayerConfig>(&layer)) {
      absl::StrAppend(&text, " ", engine::Name(act->activation));
    } else {
      absl::StrAppend(&text, " ", TypeName(layer));
    }
  }
  return text;
}

EdgeConfig EdgeOf(const TensorSpec& spec) {
  return {spec.name, spec.shape, spec.labels};
}

absl::Status CheckEdge(const char* edge, int64_t got, int64_t wanted,
                       const std::string& source) {
  if (got == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": the dense network has ", edge, " width ", got,
                   ", wanted ", wanted, ", the FFF model's"));
}

// The twin is fp32 on the CPU always: no weaker an opponent for the FFF's
// rounding, nor a stronger one.
std::string PrecisionNote(const ModelConfig& config) {
  if (config.precision == "fp32") return "";
  return absl::StrCat("; weights fp32, the FFF's are ", config.precision);
}

}  // namespace

absl::StatusOr<DenseTwin> BuildCostTwinOf(const ModelConfig& config,
                                          absl::Span<const LoadedLayer> layers,
                                          const std::string& source,
                                          const BuildOptions& options) {
  std::vector<LoadedLayer> dense;
  std::vector<std::string> neurons;
  for (const LoadedLayer& layer : layers) {
    const auto* fff = std::get_if<LoadedFff>(&layer);
    if (fff == nullptr) {
      dense.push_back(layer);
      continue;
    }
    neurons.push_back(NeuronsOf(*fff));
    for (LoadedLayer& part : DenseLayersOf(*fff)) {
      dense.push_back(std::move(part));
    }
  }
  EdgeConfig output = config.output;
  // A label beside a number that means nothing would lie.
  if (!neurons.empty()) output.labels.clear();
  DenseTwin twin;
  FFF_ASSIGN_OR_RETURN(
      twin.model,
      BuildChain(config.input, output, dense,
                 {absl::StrCat(source, " evaluated densely"), "dense layers"},
                 options));
  twin.description =
      absl::StrCat(CostDescription(std::move(neurons)), PrecisionNote(config));
  return twin;
}

absl::StatusOr<DenseTwin> BuildCostTwin(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint,
    const BuildOptions& options) {
  FFF_ASSIGN_OR_RETURN(const std::vector<LoadedLayer> layers,
                       LoadLayers(config.layers, checkpoint));
  return BuildCostTwinOf(config, layers, checkpoint.source(), options);
}

absl::StatusOr<DenseTwin> BuildTrainedTwin(
    const ModelConfig& config, const checkpoint::Checkpoint& dense_checkpoint,
    const Model& fff, const BuildOptions& options) {
  const std::string& source = dense_checkpoint.source();
  std::vector<LayerConfig> configs = config.dense_layers;
  if (configs.empty()) {
    FFF_ASSIGN_OR_RETURN(configs, DetectDenseLayers(dense_checkpoint));
  }
  FFF_ASSIGN_OR_RETURN(const std::vector<LoadedLayer> layers,
                       LoadLayers(configs, dense_checkpoint));
  int64_t width = 0;  // of what has gone through so far; 0 = any
  for (const LoadedLayer& layer : layers) {
    const LayerWidths own = WidthsOf(layer);
    if (own.input == 0) continue;
    if (width == 0) {
      FFF_RETURN_IF_ERROR(
          CheckEdge("input", own.input, fff.input().width(), source));
    }
    width = own.output;
  }
  if (width != 0) {
    FFF_RETURN_IF_ERROR(
        CheckEdge("output", width, fff.output().width(), source));
  }
  DenseTwin twin;
  FFF_ASSIGN_OR_RETURN(
      twin.model, BuildChain(EdgeOf(fff.input()), EdgeOf(fff.output()), layers,
                             {source, "dense_layers"}, options));
  twin.trained = true;
  twin.description = absl::StrCat(
      "trained dense network from dense.safetensors: ",
      NetworkOf(layers, fff.input().width()), PrecisionNote(config));
  return twin;
}

}  // namespace fff::model

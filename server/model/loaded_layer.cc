#include "server/model/loaded_layer.h"

#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/model/convention.h"
#include "server/model/tensor_reader.h"

namespace fff::model {
namespace {

// Tensors of the conventions, as far as two conventions may stand in one file:
// when config.json picks one, those of the other are no leftovers. A master
// leaf's tensors are not among them, for without them the layer is another
// function.
constexpr absl::string_view kConventionTensors[] = {"node_weights",
                                                    "node_biases",
                                                    "w1s",
                                                    "b1s",
                                                    "w2s",
                                                    "b2s",
                                                    "linear_in.weight",
                                                    "linear_in.bias",
                                                    "linear_out.weight",
                                                    "X",
                                                    "Y"};

std::string PrefixOf(const LayerConfig& config) {
  if (const auto* fff = std::get_if<FffLayerConfig>(&config)) {
    return fff->prefix;
  }
  if (const auto* linear = std::get_if<LinearLayerConfig>(&config)) {
    return linear->prefix;
  }
  if (const auto* norm = std::get_if<LayerNormLayerConfig>(&config)) {
    return norm->prefix;
  }
  return "";
}

bool HasTensors(const LayerConfig& config) {
  return !std::holds_alternative<ActivationLayerConfig>(config) &&
         !std::holds_alternative<FlattenLayerConfig>(config);
}

absl::Status CheckDimension(const std::string& name, int64_t size) {
  if (size >= 1 && size <= engine::kWidthMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor \"", name, "\": found a dimension of ", size,
                   ", wanted 1 to ", engine::kWidthMax));
}

absl::Status CheckRank(const std::string& name, const tensor::Shape& shape,
                       size_t rank, absl::string_view wanted) {
  if (shape.size() != rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", name, "\": found shape ",
                     tensor::ToString(shape), ", wanted ", wanted));
  }
  for (const int64_t size : shape) {
    FFF_RETURN_IF_ERROR(CheckDimension(name, size));
  }
  return absl::OkStatus();
}

absl::StatusOr<LoadedLayer> Load(const LinearLayerConfig& config,
                                 TensorReader& reader) {
  const std::string weight = absl::StrCat(config.prefix, "weight");
  const std::string bias = absl::StrCat(config.prefix, "bias");
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape, reader.ShapeOf(weight));
  FFF_RETURN_IF_ERROR(CheckRank(weight, shape, 2, "[O, I]"));
  engine::DenseWeights weights;
  weights.problem = {shape[1], shape[0],
                     config.activation.value_or(engine::Activation::kIdentity),
                     reader.Has(bias)};
  FFF_ASSIGN_OR_RETURN(weights.w, reader.Floats(weight, shape));
  if (weights.problem.has_bias) {
    FFF_ASSIGN_OR_RETURN(weights.bias, reader.Floats(bias, {shape[0]}));
  }
  return LoadedLinear{
      std::make_shared<const engine::DenseWeights>(std::move(weights))};
}

absl::StatusOr<LoadedLayer> Load(const LayerNormLayerConfig& config,
                                 TensorReader& reader) {
  const std::string weight = absl::StrCat(config.prefix, "weight");
  const std::string bias = absl::StrCat(config.prefix, "bias");
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape, reader.ShapeOf(weight));
  FFF_RETURN_IF_ERROR(CheckRank(weight, shape, 1, "[width]"));
  LoadedLayerNorm norm;
  norm.epsilon = config.epsilon;
  FFF_ASSIGN_OR_RETURN(norm.weight, reader.Floats(weight, shape));
  if (reader.Has(bias)) {
    FFF_ASSIGN_OR_RETURN(norm.bias, reader.Floats(bias, shape));
  }
  return norm;
}

absl::StatusOr<LoadedLayer> Load(const FffLayerConfig& config,
                                 TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(LoadedFff fff, LoadFff(config, reader));
  return fff;
}

absl::StatusOr<LoadedLayer> Load(const ActivationLayerConfig& config,
                                 TensorReader& /*reader*/) {
  return config;
}

absl::StatusOr<LoadedLayer> Load(const FlattenLayerConfig& config,
                                 TensorReader& /*reader*/) {
  return config;
}

std::string ModuleOf(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? std::string()
                                        : std::string(name.substr(0, dot));
}

// The tensors of conventions that config.json decided against.
std::set<std::string> OtherConventions(absl::Span<const LoadedLayer> loaded) {
  std::set<std::string> names;
  for (const LoadedLayer& layer : loaded) {
    const auto* fff = std::get_if<LoadedFff>(&layer);
    if (fff == nullptr || !fff->explicit_choice) continue;
    for (const absl::string_view tensor : kConventionTensors) {
      names.insert(absl::StrCat(fff->prefix, tensor));
    }
  }
  return names;
}

absl::Status CheckLeftovers(absl::Span<const LayerConfig> configs,
                            absl::Span<const LoadedLayer> loaded,
                            const TensorReader& reader) {
  bool all_prefixed = true;
  for (const LayerConfig& config : configs) {
    if (HasTensors(config) && PrefixOf(config).empty()) all_prefixed = false;
  }
  std::set<std::string> modules;
  for (const std::string& name : reader.used()) modules.insert(ModuleOf(name));
  const std::set<std::string> others = OtherConventions(loaded);
  std::vector<std::string> leftovers;
  for (const auto& [name, tensor] : reader.checkpoint().tensors()) {
    if (reader.used().count(name) > 0) continue;
    if (others.count(name) > 0) continue;
    if (all_prefixed && modules.count(ModuleOf(name)) == 0) continue;
    leftovers.push_back(name);
  }
  if (leftovers.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      leftovers.size(), leftovers.size() == 1 ? " tensor" : " tensors",
      " that no layer uses: ", QuotedNames(leftovers),
      "; list every layer in config.json, or give each its \"prefix\" to take "
      "it out of a larger file"));
}

}  // namespace

std::string TypeName(const LoadedLayer& layer) {
  constexpr const char* kNames[] = {"fff", "linear", "layer_norm", "activation",
                                    "flatten"};
  return kNames[layer.index()];
}

LayerWidths WidthsOf(const LoadedLayer& layer) {
  if (const auto* linear = std::get_if<LoadedLinear>(&layer)) {
    const engine::DenseProblem& problem = linear->weights->problem;
    return {problem.input_width, problem.output_width};
  }
  if (const auto* norm = std::get_if<LoadedLayerNorm>(&layer)) {
    return {norm->weight.size(), norm->weight.size()};
  }
  const auto* fff = std::get_if<LoadedFff>(&layer);
  if (fff == nullptr) return {};
  if (const auto* path = std::get_if<LoadedPath>(&fff->weights)) {
    return {path->problem.input_width, path->problem.output_width};
  }
  const engine::LeafProblem& leaf =
      std::get<LoadedLeaf>(fff->weights).weights->problem;
  return {leaf.input_width, leaf.output_width};
}

absl::StatusOr<std::vector<LoadedLayer>> LoadLayers(
    absl::Span<const LayerConfig> layers,
    const checkpoint::Checkpoint& checkpoint) {
  const LayerConfig detected = FffLayerConfig{};
  if (layers.empty()) layers = absl::MakeConstSpan(&detected, 1);
  TensorReader reader(checkpoint);
  std::vector<LoadedLayer> loaded;
  for (size_t i = 0; i < layers.size(); ++i) {
    auto layer = std::visit(
        [&](const auto& config) { return Load(config, reader); }, layers[i]);
    if (!layer.ok()) {
      return base::Annotate(layer.status(), absl::StrCat(checkpoint.source(),
                                                         ": layers[", i, "]"));
    }
    loaded.push_back(*std::move(layer));
  }
  FFF_RETURN_IF_ERROR(base::Annotate(CheckLeftovers(layers, loaded, reader),
                                     checkpoint.source()));
  return loaded;
}

}  // namespace fff::model

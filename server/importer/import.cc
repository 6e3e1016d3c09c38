#include "server/importer/import.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/graph/passes.h"
#include "server/importer/dense_names.h"
#include "server/importer/layer_types.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {
namespace {

// Where in config.json layers stand, for messages.
struct Names {
  std::string source;  // the checkpoint's file
  std::string key;     // "layers" or "dense_layers"

  std::string Place(size_t index) const {
    return absl::StrCat(key, "[", index, "]");
  }
};

std::string ModuleOf(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return std::string(name.substr(0, dot == absl::string_view::npos ? 0 : dot));
}

absl::Status CheckLeftovers(absl::Span<const LayerConfig> configs,
                            const TensorReader& reader) {
  bool all_prefixed = true;
  for (const LayerConfig& config : configs) {
    all_prefixed &=
        !LayerTypeOf(config).reads_tensors || !config.prefix.empty();
  }
  std::set<std::string> modules;
  for (const std::string& name : reader.used()) modules.insert(ModuleOf(name));
  std::vector<std::string> leftovers;
  for (const auto& [name, tensor] : reader.checkpoint().tensors()) {
    if (reader.used().count(name) > 0) continue;
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

absl::StatusOr<std::vector<LoadedLayer>> Load(
    absl::Span<const LayerConfig> configs,
    const checkpoint::Checkpoint& checkpoint, const Names& names) {
  TensorReader reader(checkpoint);
  std::vector<LoadedLayer> loaded;
  for (size_t i = 0; i < configs.size(); ++i) {
    auto layer = LayerTypeOf(configs[i]).load(configs[i], reader);
    if (!layer.ok()) {
      return base::Annotate(layer.status(),
                            absl::StrCat(names.source, ": ", names.Place(i)));
    }
    loaded.push_back(*std::move(layer));
  }
  FFF_RETURN_IF_ERROR(
      base::Annotate(CheckLeftovers(configs, reader), names.source));
  return loaded;
}

// The first width that a layer's weights fix: all before leave it as it is.
int64_t FirstWidth(absl::Span<const LoadedLayer> layers) {
  for (const LoadedLayer& layer : layers) {
    if (layer.input_width > 0) return layer.input_width;
  }
  return 0;
}

// The layers one after another on the builder's only input.
absl::StatusOr<graph::ValueId> AddLayers(absl::Span<const LoadedLayer> layers,
                                         const Names& names, std::string giver,
                                         graph::GraphBuilder& builder) {
  graph::ValueId value = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string here =
        absl::StrCat(names.Place(i), " (", layers[i].layer.type, ")");
    builder.BeginLayer(layers[i].layer);
    builder.layer().input_width = builder.WidthOf(value);
    const int64_t wanted = layers[i].input_width;
    if (wanted > 0 && wanted != builder.WidthOf(value)) {
      return absl::InvalidArgumentError(absl::StrCat(
          names.source, ": ", here, ": got rows of width ",
          builder.WidthOf(value), " from ", giver, ", wanted ", wanted));
    }
    auto next = layers[i].add(builder, value);
    if (!next.ok()) {
      return base::Annotate(next.status(),
                            absl::StrCat(names.source, ": ", here));
    }
    builder.layer().output_width = builder.WidthOf(*next);
    if (layers[i].input_width > 0) giver = here;
    value = *next;
  }
  return value;
}

graph::Port PortOf(const EdgeConfig& edge) {
  graph::Port port;
  port.name = edge.name;
  port.shape.assign(edge.shape.begin(), edge.shape.end());
  port.labels = edge.labels;
  return port;
}

// "input.shape [28, 28]".
std::string GiverOf(const graph::Port& port) {
  return absl::StrCat("input.shape ", tensor::ToString(port.shape));
}

absl::Status CheckDenseEdge(const char* edge, int64_t got, int64_t wanted,
                            const std::string& source) {
  if (got == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": the dense network has ", edge, " width ", got,
                   ", wanted ", wanted, ", the FFF model's"));
}

}  // namespace

absl::StatusOr<graph::Graph> Import(const ModelConfig& config,
                                    const checkpoint::Checkpoint& checkpoint) {
  const Names names = {checkpoint.source(), "layers"};
  const LayerConfig detected;
  FFF_ASSIGN_OR_RETURN(
      const std::vector<LoadedLayer> layers,
      Load(config.layers.empty() ? absl::MakeConstSpan(&detected, 1)
                                 : absl::MakeConstSpan(config.layers),
           checkpoint, names));
  graph::Port input = PortOf(config.input);
  if (input.name.empty()) input.name = "input";
  if (input.shape.empty()) input.shape = {FirstWidth(layers)};
  if (input.shape[0] == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(names.source,
                     ": no layer has a width of its own; set \"input\": "
                     "{\"shape\": [..]} in config.json"));
  }
  graph::GraphBuilder builder;
  builder.AddInput(input);
  FFF_ASSIGN_OR_RETURN(const graph::ValueId result,
                       AddLayers(layers, names, GiverOf(input), builder));
  FFF_RETURN_IF_ERROR(base::Annotate(
      builder.AddOutput(PortOf(config.output), result), names.source));
  return graph::Fuse(std::move(builder).Build());
}

absl::StatusOr<graph::Graph> ImportDense(const ModelConfig& config,
                                         const checkpoint::Checkpoint& dense,
                                         const graph::Graph& fff) {
  const Names names = {dense.source(), "dense_layers"};
  std::vector<LayerConfig> configs = config.dense_layers;
  if (configs.empty()) {
    FFF_ASSIGN_OR_RETURN(configs, DetectDenseLayers(dense));
  }
  FFF_ASSIGN_OR_RETURN(const std::vector<LoadedLayer> layers,
                       Load(configs, dense, names));
  const graph::Port& input = fff.inputs()[0];
  const graph::Port& output = fff.outputs()[0];
  if (const int64_t width = FirstWidth(layers); width > 0) {
    FFF_RETURN_IF_ERROR(
        CheckDenseEdge("input", width, input.width(), names.source));
  }
  graph::GraphBuilder builder;
  builder.AddInput(input);
  FFF_ASSIGN_OR_RETURN(const graph::ValueId result,
                       AddLayers(layers, names, GiverOf(input), builder));
  FFF_RETURN_IF_ERROR(CheckDenseEdge("output", builder.WidthOf(result),
                                     output.width(), names.source));
  FFF_RETURN_IF_ERROR(builder.AddOutput(output, result));
  return graph::Fuse(std::move(builder).Build());
}

}  // namespace fff::importer

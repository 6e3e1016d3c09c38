#include "server/importer/import.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
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
};

// After repeats are unrolled.
constexpr int kLayersInAllMax = 4096;

std::string ModuleOf(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return std::string(name.substr(0, dot == absl::string_view::npos ? 0 : dot));
}

// `repeated`: what stands before the index of a repeat's blocks; blocks beyond
// its count are leftovers, too.
absl::Status CheckLeftovers(bool all_prefixed,
                            const std::set<std::string>& repeated,
                            const TensorReader& reader) {
  std::set<std::string> modules;
  for (const std::string& name : reader.used()) modules.insert(ModuleOf(name));
  std::vector<std::string> leftovers;
  for (const auto& entry : reader.checkpoint().tensors()) {
    const std::string& name = entry.first;
    if (reader.used().count(name) > 0) continue;
    const bool block = absl::c_any_of(repeated, [&](const std::string& head) {
      return name.size() > head.size() && absl::StartsWith(name, head) &&
             absl::ascii_isdigit(static_cast<unsigned char>(name[head.size()]));
    });
    if (all_prefixed && !block && modules.count(ModuleOf(name)) == 0) continue;
    leftovers.push_back(name);
  }
  if (leftovers.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      leftovers.size(), leftovers.size() == 1 ? " tensor" : " tensors",
      " that no layer uses: ", QuotedNames(leftovers),
      "; list every layer in config.json, or give each its \"prefix\" to take "
      "it out of a larger file"));
}

// The entry with `outer` in front of every name.
LayerConfig Prefixed(LayerConfig config, const std::string& outer) {
  const auto put = [&outer](std::string& name) {
    if (!name.empty()) name = absl::StrCat(outer, name);
  };
  config.prefix = absl::StrCat(outer, config.prefix);
  put(config.tensor);
  put(config.scale_tensor);
  for (std::string& prefix : config.qkv) prefix = absl::StrCat(outer, prefix);
  if (config.out.has_value()) config.out = absl::StrCat(outer, *config.out);
  return config;
}

// Reads the weights of a list of layers, repeats unrolled.
class Loader {
 public:
  Loader(const checkpoint::Checkpoint& checkpoint, const Names& names)
      : reader_(checkpoint), names_(names) {}

  absl::StatusOr<std::vector<LoadedLayer>> Run(
      absl::Span<const LayerConfig> configs) {
    std::vector<LoadedLayer> loaded;
    FFF_RETURN_IF_ERROR(Load(configs, names_.key, "", loaded));
    FFF_RETURN_IF_ERROR(base::Annotate(
        CheckLeftovers(all_prefixed_, repeated_, reader_), names_.source));
    return loaded;
  }

 private:
  // `outer` stands in front of every name.
  absl::Status Load(absl::Span<const LayerConfig> configs,
                    const std::string& list, const std::string& outer,
                    std::vector<LoadedLayer>& loaded) {
    for (size_t i = 0; i < configs.size(); ++i) {
      FFF_RETURN_IF_ERROR(
          LoadOne(configs[i], absl::StrCat(list, "[", i, "]"), outer, loaded));
    }
    return absl::OkStatus();
  }

  absl::Status LoadOne(const LayerConfig& config, const std::string& place,
                       const std::string& outer,
                       std::vector<LoadedLayer>& loaded) {
    const LayerType& type = LayerTypeOf(config);
    const std::string inside = absl::StrCat(place, ".layers");
    if (type.nests == Nests::kRepeated) {
      if (const size_t at = config.prefix.find(kRepeatIndex);
          at != std::string::npos) {
        repeated_.insert(absl::StrCat(outer, config.prefix.substr(0, at)));
      }
      for (int64_t n = 0; n < config.count; ++n) {
        const std::string prefix = absl::StrReplaceAll(
            config.prefix, {{kRepeatIndex, absl::StrCat(n)}});
        FFF_RETURN_IF_ERROR(
            Load(config.layers, inside, absl::StrCat(outer, prefix), loaded));
      }
      return absl::OkStatus();
    }
    if (++layers_ > kLayersInAllMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          names_.source, ": ", place, ": the network has more than ",
          kLayersInAllMax, " layers"));
    }
    LoadedLayer layer;
    if (type.nests == Nests::kOnce) {
      layer.layer.type = config.type;
      FFF_RETURN_IF_ERROR(Load(config.layers, inside, outer, layer.inside));
    } else {
      const LayerConfig named = Prefixed(config, outer);
      all_prefixed_ &= !type.reads_tensors || !named.prefix.empty();
      auto read = type.load(named, reader_);
      if (!read.ok()) {
        return base::Annotate(read.status(),
                              absl::StrCat(names_.source, ": ", place));
      }
      layer = *std::move(read);
    }
    layer.place = place;
    loaded.push_back(std::move(layer));
    return absl::OkStatus();
  }

  TensorReader reader_;
  const Names& names_;
  bool all_prefixed_ = true;
  std::set<std::string> repeated_;
  int layers_ = 0;
};

absl::StatusOr<std::vector<LoadedLayer>> Load(
    absl::Span<const LayerConfig> configs,
    const checkpoint::Checkpoint& checkpoint, const Names& names) {
  return Loader(checkpoint, names).Run(configs);
}

// The first width that a layer's weights fix, where all before leave it as it
// is; else 0.
int64_t FirstWidth(absl::Span<const LoadedLayer> layers) {
  for (const LoadedLayer& layer : layers) {
    if (layer.reshapes || !layer.inside.empty()) return 0;
    if (layer.input_width > 0) return layer.input_width;
  }
  return 0;
}

// "rows of width 784", "rows of [17, 32]".
std::string RowsText(const graph::ValueType& type) {
  const tensor::Shape shape = type.shape();
  if (shape.size() == 1) return absl::StrCat("rows of width ", shape[0]);
  return absl::StrCat("rows of ", tensor::ToString(shape));
}

// Layers one after another on a value.
class LayerAdder {
 public:
  // `giver`: who makes the rows, for messages.
  LayerAdder(const Names& names, std::string giver,
             graph::GraphBuilder& builder)
      : names_(names), giver_(std::move(giver)), builder_(builder) {}

  absl::StatusOr<graph::ValueId> Add(absl::Span<const LoadedLayer> layers,
                                     graph::ValueId value) {
    for (const LoadedLayer& layer : layers) {
      auto next = layer.inside.empty() ? AddOne(layer, value)
                                       : AddResidual(layer, value);
      if (!next.ok()) return next;
      value = *next;
    }
    return value;
  }

 private:
  std::string Here(const LoadedLayer& layer) const {
    return absl::StrCat(layer.place, " (", layer.layer.type, ")");
  }

  absl::Status Failed(const LoadedLayer& layer,
                      const absl::Status& status) const {
    return base::Annotate(status,
                          absl::StrCat(names_.source, ": ", Here(layer)));
  }

  absl::StatusOr<graph::ValueId> AddOne(const LoadedLayer& layer,
                                        graph::ValueId value) {
    builder_.BeginLayer(layer.layer);
    builder_.layer().input_width = builder_.WidthOf(value);
    const int64_t wanted = layer.input_width;
    const graph::ValueType& type = builder_.TypeOf(value);
    if (wanted > 0 && graph::TokensOf(type, wanted) == 0) {
      return Failed(layer, absl::InvalidArgumentError(
                               absl::StrCat("got ", RowsText(type), " from ",
                                            giver_, ", wanted ", wanted)));
    }
    auto next = layer.add(builder_, value);
    if (!next.ok()) return Failed(layer, next.status());
    builder_.layer().output_width = builder_.WidthOf(*next);
    if (wanted > 0) giver_ = Here(layer);
    return next;
  }

  // Its layers, and its input added to what they make.
  absl::StatusOr<graph::ValueId> AddResidual(const LoadedLayer& layer,
                                             graph::ValueId value) {
    const graph::ValueType input = builder_.TypeOf(value);
    FFF_ASSIGN_OR_RETURN(const graph::ValueId inside, Add(layer.inside, value));
    const graph::ValueType& output = builder_.TypeOf(inside);
    if (output.shape() != input.shape() || inside == value) {
      return Failed(layer,
                    absl::InvalidArgumentError(absl::StrCat(
                        "its layers make ", tensor::ToString(output.shape()),
                        " of ", tensor::ToString(input.shape()),
                        "; to be added the two must be alike")));
    }
    builder_.BeginLayer(layer.layer);
    builder_.layer().input_width = builder_.WidthOf(value);
    builder_.layer().output_width = builder_.WidthOf(inside);
    const int64_t width = builder_.WidthOf(value);
    const graph::ValueId both[] = {inside, value};
    auto sum =
        builder_.Add(graph::Add{{std::make_shared<const graph::AddWeights>(
                         graph::AddWeights{{width, width}})}},
                     both);
    if (!sum.ok()) return Failed(layer, sum.status());
    return sum;
  }

  const Names& names_;
  std::string giver_;
  graph::GraphBuilder& builder_;
};

absl::StatusOr<graph::ValueId> AddLayers(absl::Span<const LoadedLayer> layers,
                                         const Names& names, std::string giver,
                                         graph::GraphBuilder& builder) {
  return LayerAdder(names, std::move(giver), builder).Add(layers, 0);
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

#include "server/importer/import.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/graph/passes.h"
#include "server/importer/dense_names.h"
#include "server/importer/layer_adder.h"
#include "server/importer/layer_loader.h"
#include "server/importer/networks/crammed_bert.h"

namespace fff::importer {
namespace {

// "input.shape [28, 28]", "input "pixels"".
std::string GiverOf(const graph::Port& port, bool only) {
  if (!only) return absl::StrCat("input \"", port.name, "\"");
  return absl::StrCat("input.shape ", tensor::ToString(port.shape));
}

// The inputs, and the layers on the one of data. The outputs: that of the end
// of the layers, which has the port `main`, then those among the layers.
absl::StatusOr<std::vector<Output>> AddLayers(
    absl::Span<const LoadedLayer> layers, absl::Span<const graph::Port> inputs,
    graph::Port main, const Names& names, graph::GraphBuilder& builder) {
  graph::ValueId value = 0;
  std::string giver;
  LayerContext context;
  for (const graph::Port& port : inputs) {
    const graph::ValueId added = builder.AddInput(port);
    if (port.role == graph::Port::Role::kMask) {
      context.mask = added;
    } else {
      value = added;
      giver = GiverOf(port, inputs.size() == 1 && !port.sequence);
    }
  }
  LayerAdder adder(names, std::move(giver), context, builder);
  FFF_ASSIGN_OR_RETURN(const graph::ValueId end, adder.Add(layers, value));
  std::vector<Output> outputs = std::move(adder.outputs());
  outputs.insert(outputs.begin(), {std::move(main), end});
  return outputs;
}

// The ports of the config's inputs; a width that is left out is the layers'.
absl::StatusOr<std::vector<graph::Port>> PortsOf(
    const ModelConfig& config, absl::Span<const LoadedLayer> layers,
    const Names& names) {
  std::vector<graph::Port> ports;
  for (const EdgeConfig& edge : config.inputs) {
    if (edge.positions) continue;
    graph::Port port = PortOf(edge);
    if (port.name.empty()) port.name = "input";
    if (port.shape.empty() && !port.sequence) {
      port.shape = {FirstWidth(layers)};
    }
    if (!port.shape.empty() && port.shape[0] == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(names.source,
                       ": no layer has a width of its own; set \"input\": "
                       "{\"shape\": [..]} in config.json"));
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

// Requests may name the tokens whose outputs they want: under the name that the
// config gives, else under "positions" where the network can and no input is
// called that.
absl::Status AddPositions(const ModelConfig& config, const Names& names,
                          graph::GraphBuilder& builder) {
  bool taken = false;
  for (const EdgeConfig& edge : config.inputs) {
    taken |= edge.name == kPositionsName;
    if (!edge.positions) continue;
    if (builder.AcceptPositions(edge.name)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        names.source, ": input \"", edge.name,
        "\" of role \"positions\": the network has no output per token, it "
        "has several outputs, or its last layer sees several tokens; leave the "
        "input out"));
  }
  if (!taken) builder.AcceptPositions(kPositionsName);
  return absl::OkStatus();
}

absl::StatusOr<graph::Graph> ImportLayers(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint,
    bool whole_file, std::vector<std::string>* assumed) {
  const Names names = {checkpoint.source(), "layers"};
  const LayerConfig detected;
  FFF_ASSIGN_OR_RETURN(
      const std::vector<LoadedLayer> layers,
      LoadLayers(config.layers.empty() ? absl::MakeConstSpan(&detected, 1)
                                       : absl::MakeConstSpan(config.layers),
                 checkpoint, names, whole_file));
  if (assumed != nullptr) *assumed = AssumedOf(layers);
  FFF_ASSIGN_OR_RETURN(const std::vector<graph::Port> inputs,
                       PortsOf(config, layers, names));
  graph::GraphBuilder builder;
  // A row is never cut, so what a batch may hold bounds a row, too.
  builder.LimitTokens(config.batching.max_batch_tokens);
  FFF_ASSIGN_OR_RETURN(
      const std::vector<Output> outputs,
      AddLayers(layers, inputs, PortOf(config.output), names, builder));
  for (const Output& output : outputs) {
    FFF_RETURN_IF_ERROR(base::Annotate(
        builder.AddOutput(output.port, output.value), names.source));
  }
  FFF_RETURN_IF_ERROR(AddPositions(config, names, builder));
  return graph::Fuse(std::move(builder).Build());
}

// What a trained dense network must have in common with the FFF model.
absl::Status CheckDenseEdge(absl::string_view edge, const graph::ValueType& got,
                            const graph::ValueType& wanted,
                            const std::string& source) {
  if (got.width() == wanted.width() && got.per_token() == wanted.per_token()) {
    return absl::OkStatus();
  }
  const auto text = [](const graph::ValueType& type) {
    return absl::StrCat(type.width(), type.per_token() ? " per token" : "");
  };
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": the dense network has ", edge, " width ",
                   text(got), ", wanted ", text(wanted), ", the FFF model's"));
}

// The outputs of the FFF model, in its order, by the names of the dense
// network's.
absl::Status AddDenseOutputs(const std::vector<Output>& outputs,
                             const graph::Graph& fff, const Names& names,
                             graph::GraphBuilder& builder) {
  for (size_t i = 0; i < fff.outputs().size(); ++i) {
    const graph::Port& wanted = fff.outputs()[i];
    const auto found = absl::c_find_if(outputs, [&](const Output& output) {
      return output.port.name == wanted.name;
    });
    if (found == outputs.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          names.source, ": the dense network has no output \"", wanted.name,
          "\", which the FFF model has; add it to \"dense_layers\""));
    }
    const std::string edge =
        i == 0 ? "output"
               : absl::StrCat("for output \"", wanted.name, "\" the");
    FFF_RETURN_IF_ERROR(CheckDenseEdge(edge, builder.TypeOf(found->value),
                                       fff.type(fff.output_value(i)),
                                       names.source));
    FFF_RETURN_IF_ERROR(builder.AddOutput(wanted, found->value));
  }
  if (outputs.size() == fff.outputs().size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      names.source, ": the dense network has ", outputs.size(),
      " outputs, wanted ", fff.outputs().size(), ", the FFF model's"));
}

// It takes every id and every sequence that the FFF model takes.
absl::Status CheckDenseInputs(const graph::Graph& dense,
                              const graph::Graph& fff,
                              const std::string& source) {
  for (size_t i = 0; i < fff.inputs().size(); ++i) {
    const graph::Port& wanted = fff.inputs()[i];
    if (dense.inputs()[i].limit == wanted.limit) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": the dense network takes \"", wanted.name,
                     "\" below ", dense.inputs()[i].limit, ", wanted ",
                     wanted.limit, ", the FFF model's"));
  }
  if (dense.tokens_max() == fff.tokens_max()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": the dense network takes sequences of up to ",
                   dense.tokens_max(), " tokens, wanted ", fff.tokens_max(),
                   ", the FFF model's"));
}

// The layers of dense.safetensors where config.json lists none, over the
// checkpoint that they name.
absl::StatusOr<KnownNetwork> DetectDense(const ModelConfig& config,
                                         const checkpoint::Checkpoint& dense) {
  ModelConfig detected;
  if (!IsCrammedBert(dense)) {
    FFF_ASSIGN_OR_RETURN(detected.layers, DetectDenseLayers(dense));
    return KnownNetwork{std::move(detected), dense};
  }
  // The same network but for its feedforward layers.
  if (config.crammed_bert.has_value()) {
    detected.crammed_bert = config.crammed_bert;
    detected.crammed_bert->feedforward.reset();
    detected.crammed_bert->intermed_size.reset();
    detected.crammed_bert->intermed_depth.reset();
  }
  return CrammedBert(detected, dense);
}

// Of layers that DetectDenseLayers lists.
bool HasActivation(absl::Span<const LayerConfig> layers) {
  return absl::c_any_of(layers, [](const LayerConfig& layer) {
    return layer.type == "linear" && layer.activation.has_value();
  });
}

std::string FileName(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

absl::StatusOr<graph::Graph> Import(const ModelConfig& config,
                                    const checkpoint::Checkpoint& checkpoint,
                                    std::vector<std::string>* assumed) {
  if (!config.layers.empty() ||
      (!config.crammed_bert.has_value() && !IsCrammedBert(checkpoint))) {
    return ImportLayers(config, checkpoint, /*whole_file=*/false, assumed);
  }
  FFF_ASSIGN_OR_RETURN(const KnownNetwork known,
                       CrammedBert(config, checkpoint));
  return ImportLayers(known.config, known.checkpoint, /*whole_file=*/true,
                      assumed);
}

absl::StatusOr<graph::Graph> ImportDense(const ModelConfig& config,
                                         const checkpoint::Checkpoint& dense,
                                         const graph::Graph& fff,
                                         std::vector<std::string>* assumed) {
  const Names names = {dense.source(), "dense_layers"};
  KnownNetwork network = {ModelConfig(), dense};
  network.config.layers = config.dense_layers;
  if (config.dense_layers.empty()) {
    FFF_ASSIGN_OR_RETURN(network, DetectDense(config, dense));
  }
  FFF_ASSIGN_OR_RETURN(
      const std::vector<LoadedLayer> layers,
      LoadLayers(network.config.layers, network.checkpoint, names,
                 /*whole_file=*/false));
  if (assumed != nullptr) *assumed = AssumedOf(layers);
  if (assumed != nullptr && config.dense_layers.empty() &&
      !IsCrammedBert(dense) && HasActivation(network.config.layers)) {
    assumed->push_back(absl::StrCat(
        FileName(dense.source()),
        ": no tensor tells the activation between its linear layers, taken as "
        "relu; list them in \"dense_layers\" of config.json where it is "
        "another"));
  }
  for (const graph::Port& input : fff.inputs()) {
    const int64_t width = FirstWidth(layers);
    if (input.role != graph::Port::Role::kData || width == 0 ||
        graph::TokensOf(input.type(), width) > 0) {
      continue;
    }
    FFF_RETURN_IF_ERROR(CheckDenseEdge("input", graph::ValueType::Rows(width),
                                       input.type(), names.source));
  }
  graph::GraphBuilder builder;
  FFF_ASSIGN_OR_RETURN(
      const std::vector<Output> outputs,
      AddLayers(layers, fff.inputs(), fff.outputs()[0], names, builder));
  FFF_RETURN_IF_ERROR(AddDenseOutputs(outputs, fff, names, builder));
  builder.LimitTokens(fff.tokens_max());
  if (fff.positions() != nullptr) {
    builder.AcceptPositions(fff.positions()->name);
  }
  graph::Graph graph = std::move(builder).Build();
  FFF_RETURN_IF_ERROR(CheckDenseInputs(graph, fff, names.source));
  return graph::Fuse(graph);
}

}  // namespace fff::importer

#include "server/importer/layers/row_layers.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/activation_names.h"
#include "server/importer/dense_weights.h"

namespace fff::importer {
namespace {

using graph::Activation;
using graph::GraphBuilder;
using graph::Op;
using graph::ValueId;

absl::StatusOr<graph::LayerNormWeights> ReadNorm(const LayerConfig& config,
                                                 TensorReader& reader) {
  const std::string weight = absl::StrCat(config.prefix, "weight");
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape,
                       WidthsOf(weight, 1, "[width]", reader));
  graph::LayerNormWeights norm;
  norm.problem = {shape[0], shape[0], config.epsilon};
  FFF_ASSIGN_OR_RETURN(norm.weight, reader.Floats(weight, shape));
  return norm;
}

LoadedLayer NormLayer(const char* type, graph::LayerNormWeights norm) {
  const int64_t width = norm.problem.input_width;
  return OneOp(
      type, width,
      graph::LayerNorm{
          {std::make_shared<const graph::LayerNormWeights>(std::move(norm))}});
}

// Whose half of `width` elements is the gate.
absl::StatusOr<Op> GateOf(const LayerConfig& config, int64_t width) {
  if (width % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got rows of ", width, ", wanted an even width, of two halves"));
  }
  const graph::GateProblem problem = {
      width, width / 2, config.activation.value_or(Activation::kSigmoid),
      config.gate_first};
  return graph::Gate{{std::make_shared<const graph::GateWeights>(
      graph::GateWeights{problem})}};
}

}  // namespace

std::optional<Activation> ReadActivation(JsonFields& fields) {
  const nlohmann::json* value = fields.Find("activation");
  if (value != nullptr && value->is_string()) {
    const auto named = ActivationNamed(value->get_ref<const std::string&>());
    if (named.has_value()) return named;
  }
  std::vector<JsonFields::Named<Activation>> allowed;
  for (const Activation activation : graph::kActivations) {
    allowed.emplace_back(graph::Name(activation), activation);
  }
  return fields.OneOf<Activation>("activation", allowed);
}

void ReadPrefix(JsonFields& fields, LayerConfig& config) {
  config.prefix =
      fields.String("prefix", checkpoint::kTensorNameBytesMax).value_or("");
}

void ReadLayerNorm(JsonFields& fields, LayerConfig& config) {
  ReadPrefix(fields, config);
  config.epsilon =
      fields.PositiveNumber("epsilon", kEpsilonMax).value_or(config.epsilon);
}

absl::StatusOr<LoadedLayer> LoadLayerNorm(const LayerConfig& config,
                                          TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(graph::LayerNormWeights norm, ReadNorm(config, reader));
  const std::string bias = absl::StrCat(config.prefix, "bias");
  norm.problem.has_bias = reader.Has(bias);
  if (norm.problem.has_bias) {
    FFF_ASSIGN_OR_RETURN(norm.bias,
                         reader.Floats(bias, {norm.problem.input_width}));
  }
  return NormLayer("layer_norm", std::move(norm));
}

void ReadRmsNorm(JsonFields& fields, LayerConfig& config) {
  ReadPrefix(fields, config);
  const auto epsilon = fields.PositiveNumber("epsilon", kEpsilonMax);
  if (!epsilon.has_value() && fields.Find("epsilon") == nullptr) {
    fields.errors().Add(fields.PathOf("epsilon"),
                        "this key is missing; torch.nn.RMSNorm adds "
                        "1.1920929e-07 where it was given none, many others "
                        "1e-06 or 1e-05");
  }
  config.epsilon = epsilon.value_or(config.epsilon);
}

absl::StatusOr<LoadedLayer> LoadRmsNorm(const LayerConfig& config,
                                        TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(graph::LayerNormWeights norm, ReadNorm(config, reader));
  norm.problem.centred = false;
  return NormLayer("rms_norm", std::move(norm));
}

void ReadGlu(JsonFields& fields, LayerConfig& config) {
  ReadPrefix(fields, config);
  config.activation = ReadActivation(fields);
  config.gate_first =
      fields.OneOf<bool>("gate", {{"second", false}, {"first", true}})
          .value_or(false);
}

absl::StatusOr<LoadedLayer> LoadGlu(const LayerConfig& config,
                                    TensorReader& reader) {
  LoadedLayer loaded;
  loaded.layer.type = config.type;
  loaded.reshapes = true;
  std::vector<Op> before;
  if (!config.prefix.empty()) {
    FFF_ASSIGN_OR_RETURN(
        graph::DenseWeights weights,
        ReadDense(absl::StrCat(config.prefix, "weight"),
                  absl::StrCat(config.prefix, "bias"), reader));
    loaded.input_width = weights.problem.input_width;
    before.emplace_back(graph::Linear{
        {std::make_shared<const graph::DenseWeights>(std::move(weights))}});
  }
  loaded.add = [config, before](
                   GraphBuilder& builder, ValueId in,
                   const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    FFF_ASSIGN_OR_RETURN(const ValueId both, builder.AddChain(before, in));
    const tensor::Shape shape = builder.TypeOf(both).shape();
    FFF_ASSIGN_OR_RETURN(Op gate,
                         GateOf(config, shape.empty() ? 1 : shape.back()));
    return builder.Add(std::move(gate), both);
  };
  return loaded;
}

absl::StatusOr<LoadedLayer> LoadSoftmax(const LayerConfig& config,
                                        TensorReader& /*reader*/) {
  LoadedLayer loaded;
  loaded.layer.type = config.type;
  loaded.add = [](GraphBuilder& builder, ValueId in,
                  const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    const tensor::Shape shape = builder.TypeOf(in).shape();
    const int64_t width = shape.empty() ? 1 : shape.back();
    return builder.Add(
        graph::Softmax{{std::make_shared<const graph::SoftmaxWeights>(
            graph::SoftmaxWeights{{width, width}})}},
        in);
  };
  return loaded;
}

}  // namespace fff::importer

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/dense_weights.h"
#include "server/importer/layers/layer_fields.h"
#include "server/importer/layers/layer_type.h"

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

void ReadLinear(JsonFields& fields, LayerConfig& config) {
  ReadPrefix(fields, config);
  config.activation = ReadActivation(fields);
}

void ReadActivationLayer(JsonFields& fields, LayerConfig& config) {
  config.activation = ReadActivation(fields);
  if (!config.activation.has_value()) {
    fields.errors().Add(fields.PathOf("activation"),
                        "this key is missing; an activation layer needs it, "
                        "for example \"relu\"");
  }
}

absl::StatusOr<LoadedLayer> LoadLinear(const LayerConfig& config,
                                       TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(graph::DenseWeights weights,
                       ReadDense(absl::StrCat(config.prefix, "weight"),
                                 absl::StrCat(config.prefix, "bias"), reader));
  weights.problem.activation =
      config.activation.value_or(Activation::kIdentity);
  const int64_t width = weights.problem.input_width;
  return OneOp("linear", width,
               graph::Linear{{std::make_shared<const graph::DenseWeights>(
                   std::move(weights))}});
}

absl::StatusOr<LoadedLayer> LoadActivation(const LayerConfig& config,
                                           TensorReader& /*reader*/) {
  LoadedLayer loaded;
  const Activation activation = *config.activation;
  loaded.layer.type = config.type;
  loaded.add = [activation](
                   GraphBuilder& builder, ValueId in,
                   const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    const int64_t width = builder.WidthOf(in);
    const graph::ActivationProblem problem = {width, width, activation};
    builder.layer().text = problem.ToString();
    if (activation == Activation::kIdentity) return in;
    return builder.Add(
        graph::Activate{{std::make_shared<const graph::ActivationWeights>(
            graph::ActivationWeights{problem})}},
        in);
  };
  return loaded;
}

// Elements lie in this order already: no op.
absl::StatusOr<LoadedLayer> LoadFlatten(const LayerConfig& config,
                                        TensorReader& /*reader*/) {
  LoadedLayer loaded;
  loaded.layer.type = config.type;
  loaded.add = [](GraphBuilder& builder, ValueId in,
                  const LayerContext& /*context*/) -> absl::StatusOr<ValueId> {
    if (builder.TypeOf(in).per_token()) {
      return absl::InvalidArgumentError(
          "got sequences of any length, wanted rows of one length; \"pool\" "
          "makes one vector of a sequence");
    }
    if (builder.TypeOf(in).data_type != tensor::DataType::kF32) {
      return absl::InvalidArgumentError(
          "got whole numbers, which \"embedding\" must come first for");
    }
    builder.layer().text = absl::StrCat("to ", builder.WidthOf(in));
    builder.Flatten(in);
    return in;
  };
  return loaded;
}

// torch.nn.LayerNorm.
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

// torch.nn.RMSNorm. "epsilon" has no default: code bases differ.
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

// One half of the row times the activation of the other (graph::GateProblem),
// behind a linear layer where it has a prefix.
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

// Over the last dimension.
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

}  // namespace

absl::Span<const LayerType> RowLayers() {
  static constexpr LayerType kTypes[] = {
      {"linear", true, true, ReadLinear, LoadLinear},
      {"activation", false, true, ReadActivationLayer, LoadActivation},
      {"layer_norm", true, true, ReadLayerNorm, LoadLayerNorm},
      {"rms_norm", true, true, ReadRmsNorm, LoadRmsNorm},
      {"glu", false, true, ReadGlu, LoadGlu},
      {"softmax", false, true, ReadNothing, LoadSoftmax},
      {"flatten", false, true, ReadNothing, LoadFlatten},
  };
  return kTypes;
}

}  // namespace fff::importer

#include "server/importer/layer_types.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/conventions.h"
#include "server/importer/fff_layer.h"

namespace fff::importer {
namespace {

using graph::Activation;
using graph::GraphBuilder;
using graph::Op;
using graph::ValueId;

constexpr double kEpsilonMax = 1.0;

// A layer of one op.
LoadedLayer OneOp(absl::string_view type, int64_t input_width, Op op) {
  LoadedLayer loaded;
  loaded.layer.type = std::string(type);
  loaded.input_width = input_width;
  loaded.add = [op = std::move(op)](GraphBuilder& builder, ValueId in) {
    return builder.Add(op, in);
  };
  return loaded;
}

std::optional<Activation> ReadActivation(JsonFields& fields) {
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

// Fields that contradict the family are refused here, before any tensor is
// read; without a convention the family may still be detected, and then the
// reader checks again.
void CheckFamily(const LayerConfig& config, JsonFields& fields) {
  const Convention* convention = FindConvention(config.convention);
  if (convention != nullptr && config.family.has_value() &&
      *config.family != convention->family()) {
    fields.errors().Add(
        fields.PathOf("family"),
        absl::StrCat("found \"", Name(*config.family), "\", but convention \"",
                     convention->name, "\" is of family \"",
                     Name(convention->family()), "\"; leave one of them out"));
  }
}

void ReadFff(JsonFields& fields, LayerConfig& config) {
  std::vector<JsonFields::Named<std::string>> conventions;
  for (const Convention& convention : Conventions()) {
    conventions.emplace_back(convention.name, std::string(convention.name));
  }
  config.convention =
      fields.OneOf<std::string>("convention", conventions).value_or("");
  ReadPrefix(fields, config);
  config.activation = ReadActivation(fields);
  config.trees = fields.Integer("trees", {1, graph::kTreesMax});
  config.family = fields.OneOf<Family>(
      "family", {{"leaf", Family::kLeaf}, {"path", Family::kPath}});
  config.tie = fields.OneOf<graph::Tie>(
      "tie", {{"right", graph::Tie::kRight}, {"left", graph::Tie::kLeft}});
  config.output_bias = fields.Bool("output_bias");
  CheckFamily(config, fields);
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

void ReadLayerNorm(JsonFields& fields, LayerConfig& config) {
  ReadPrefix(fields, config);
  config.epsilon =
      fields.PositiveNumber("epsilon", kEpsilonMax).value_or(config.epsilon);
}

void ReadNothing(JsonFields& /*fields*/, LayerConfig& /*config*/) {}

// The shape of a tensor of `rank` whose dimensions are widths.
absl::StatusOr<tensor::Shape> WidthsOf(const std::string& name, size_t rank,
                                       absl::string_view wanted,
                                       const TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(tensor::Shape shape, reader.ShapeOf(name));
  if (shape.size() != rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", name, "\": found shape ",
                     tensor::ToString(shape), ", wanted ", wanted));
  }
  for (const int64_t size : shape) {
    if (size >= 1 && size <= graph::kWidthMax) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", name, "\": found a dimension of ", size,
                     ", wanted 1 to ", graph::kWidthMax));
  }
  return shape;
}

absl::StatusOr<LoadedLayer> LoadLinear(const LayerConfig& config,
                                       TensorReader& reader) {
  const std::string weight = absl::StrCat(config.prefix, "weight");
  const std::string bias = absl::StrCat(config.prefix, "bias");
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape,
                       WidthsOf(weight, 2, "[O, I]", reader));
  graph::DenseWeights weights;
  weights.problem = {shape[1], shape[0],
                     config.activation.value_or(Activation::kIdentity),
                     reader.Has(bias)};
  FFF_ASSIGN_OR_RETURN(weights.w, reader.Floats(weight, shape));
  if (weights.problem.has_bias) {
    FFF_ASSIGN_OR_RETURN(weights.bias, reader.Floats(bias, {shape[0]}));
  }
  return OneOp("linear", shape[1],
               graph::Linear{{std::make_shared<const graph::DenseWeights>(
                   std::move(weights))}});
}

absl::StatusOr<LoadedLayer> LoadLayerNorm(const LayerConfig& config,
                                          TensorReader& reader) {
  const std::string weight = absl::StrCat(config.prefix, "weight");
  const std::string bias = absl::StrCat(config.prefix, "bias");
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape,
                       WidthsOf(weight, 1, "[width]", reader));
  graph::LayerNormWeights norm;
  norm.problem = {shape[0], shape[0], config.epsilon, reader.Has(bias)};
  FFF_ASSIGN_OR_RETURN(norm.weight, reader.Floats(weight, shape));
  if (norm.problem.has_bias) {
    FFF_ASSIGN_OR_RETURN(norm.bias, reader.Floats(bias, shape));
  }
  return OneOp(
      "layer_norm", shape[0],
      graph::LayerNorm{
          {std::make_shared<const graph::LayerNormWeights>(std::move(norm))}});
}

absl::StatusOr<LoadedLayer> LoadActivation(const LayerConfig& config,
                                           TensorReader& /*reader*/) {
  LoadedLayer loaded;
  const Activation activation = *config.activation;
  loaded.layer.type = config.type;
  loaded.add = [activation](GraphBuilder& builder,
                            ValueId in) -> absl::StatusOr<ValueId> {
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

// Rows are flat already: a layer for people.
absl::StatusOr<LoadedLayer> LoadFlatten(const LayerConfig& config,
                                        TensorReader& /*reader*/) {
  LoadedLayer loaded;
  loaded.layer.type = config.type;
  loaded.add = [](GraphBuilder& builder,
                  ValueId in) -> absl::StatusOr<ValueId> {
    builder.layer().text = absl::StrCat("to ", builder.WidthOf(in));
    return in;
  };
  return loaded;
}

constexpr LayerType kTypes[] = {
    {"linear", true, true, ReadLinear, LoadLinear},
    {"activation", false, true, ReadActivationLayer, LoadActivation},
    {"layer_norm", true, true, ReadLayerNorm, LoadLayerNorm},
    {"flatten", false, true, ReadNothing, LoadFlatten},
    {"fff", true, false, ReadFff, LoadFff},
};

LayerConfig ReadLayer(const nlohmann::json& value, std::string path,
                      bool trained_dense, JsonErrors& errors) {
  JsonFields fields(value, std::move(path), errors);
  std::vector<JsonFields::Named<const LayerType*>> allowed;
  for (const LayerType& type : kTypes) {
    if (type.trained_dense || !trained_dense) {
      allowed.emplace_back(type.name, &type);
    }
  }
  LayerConfig config;
  const auto type = fields.OneOf<const LayerType*>("type", allowed);
  if (!type.has_value()) {
    errors.Add(fields.PathOf("type"),
               "this key is missing; every layer has one, for example "
               "\"linear\"");
    return config;
  }
  config.type = std::string((*type)->name);
  (*type)->read(fields, config);
  fields.RejectUnknownKeys();
  return config;
}

}  // namespace

const LayerType& LayerTypeOf(const LayerConfig& config) {
  const auto* found = std::find_if(
      std::begin(kTypes), std::end(kTypes),
      [&](const LayerType& type) { return type.name == config.type; });
  FFF_CHECK(found != std::end(kTypes));
  return *found;
}

std::vector<LayerConfig> ReadLayers(JsonFields& fields, const char* key) {
  const bool trained_dense = absl::string_view(key) == "dense_layers";
  std::vector<LayerConfig> layers;
  size_t index = 0;
  for (const nlohmann::json* element : fields.Elements(key, {1, kLayersMax})) {
    layers.push_back(ReadLayer(*element, fields.ElementPath(key, index),
                               trained_dense, fields.errors()));
    ++index;
  }
  return layers;
}

}  // namespace fff::importer

#include "server/model/chain.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/engine/reduced_weights.h"
#include "server/model/activation_layer.h"
#include "server/model/device_build.h"
#include "server/model/fff_leaf_layer.h"
#include "server/model/fff_path_layer.h"
#include "server/model/flatten_layer.h"
#include "server/model/layer_norm_layer.h"
#include "server/model/linear_layer.h"
#include "server/model/master_leaf_layer.h"
#include "server/tensor/shape.h"

namespace fff::model {
namespace {

using LayerPtr = std::unique_ptr<const Layer>;

int64_t Product(absl::Span<const int64_t> shape) {
  int64_t product = 1;
  for (const int64_t dimension : shape) product *= dimension;
  return product;
}

std::string Place(const ChainNames& names, size_t index,
                  const LoadedLayer& layer) {
  return absl::StrCat(names.source, ": ", names.key, "[", index, "] (",
                      TypeName(layer), ")");
}

// The width of the model's input: input.shape, or what the first layer with
// weights takes (all before it leave the width as it is).
absl::StatusOr<int64_t> InputWidth(const EdgeConfig& input,
                                   absl::Span<const LoadedLayer> layers,
                                   const ChainNames& names) {
  if (!input.shape.empty()) return Product(input.shape);
  for (const LoadedLayer& layer : layers) {
    if (WidthsOf(layer).input > 0) return WidthsOf(layer).input;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(names.source,
                   ": no layer has a width of its own; set \"input\": "
                   "{\"shape\": [..]} in config.json"));
}

// The width that enters each layer, and last the one that leaves the chain.
absl::StatusOr<std::vector<int64_t>> ResolveWidths(
    const EdgeConfig& input, absl::Span<const LoadedLayer> layers,
    const ChainNames& names) {
  FFF_ASSIGN_OR_RETURN(int64_t width, InputWidth(input, layers, names));
  std::string giver =
      absl::StrCat("input.shape ", tensor::ToString(input.shape));
  std::vector<int64_t> widths;
  for (size_t i = 0; i < layers.size(); ++i) {
    widths.push_back(width);
    const LayerWidths own = WidthsOf(layers[i]);
    if (own.input == 0) continue;
    if (own.input != width) {
      return absl::InvalidArgumentError(
          absl::StrCat(Place(names, i, layers[i]), ": got rows of width ",
                       width, " from ", giver, ", wanted ", own.input));
    }
    width = own.output;
    giver = absl::StrCat(names.key, "[", i, "] (", TypeName(layers[i]), ")");
  }
  widths.push_back(width);
  return widths;
}

absl::StatusOr<TensorSpec> MakeEdge(const EdgeConfig& edge,
                                    absl::string_view key, int64_t width,
                                    const ChainNames& names) {
  TensorSpec spec;
  spec.name = edge.name.empty() ? std::string(key) : edge.name;
  spec.shape = edge.shape;
  if (spec.shape.empty()) spec.shape = {width};
  if (Product(spec.shape) != width) {
    return absl::InvalidArgumentError(absl::StrCat(
        names.source, ": ", key, ".shape: found ", tensor::ToString(spec.shape),
        ", whose product is ", Product(spec.shape),
        ", but the layers have width ", width));
  }
  spec.labels = edge.labels;
  if (!spec.labels.empty() &&
      static_cast<int64_t>(spec.labels.size()) != width) {
    return absl::InvalidArgumentError(absl::StrCat(
        names.source, ": ", key, ".labels: found ", spec.labels.size(),
        " labels, wanted ", width, ", one an output"));
  }
  return spec;
}

// An even share of the time for each layer that chooses kernels; a master leaf
// chooses three times.
double TuningShare(absl::Span<const LoadedLayer> layers, double seconds) {
  int plans = 0;
  for (const LoadedLayer& layer : layers) {
    if (const auto* fff = std::get_if<LoadedFff>(&layer)) {
      const auto* leaf = std::get_if<LoadedLeaf>(&fff->weights);
      plans += leaf != nullptr && leaf->master != nullptr ? 3 : 1;
    }
    plans += std::holds_alternative<LoadedLinear>(layer) ? 1 : 0;
  }
  return seconds / std::max(plans, 1);
}

// Whether layer i may choose kernels by measurement. Path kernels agree bit for
// bit; leaf and dense kernels agree within rounding, which could turn a
// decision of an FFF layer behind them.
bool ChoiceMovesNoRoute(absl::Span<const LoadedLayer> layers, size_t i) {
  const auto* fff = std::get_if<LoadedFff>(&layers[i]);
  if (fff != nullptr && std::holds_alternative<LoadedPath>(fff->weights)) {
    return true;
  }
  return std::none_of(layers.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                      layers.end(), [](const LoadedLayer& layer) {
                        return std::holds_alternative<LoadedFff>(layer);
                      });
}

struct MakeLayer {
  int64_t width;  // of the rows that enter
  const engine::PlanOptions& options;
  engine::Precision precision;         // of fff layers on the CPU
  std::vector<engine::DeviceOp>& ops;  // gets what a device is to compute

  absl::StatusOr<LayerPtr> operator()(const LoadedFff& fff) const {
    const std::string convention(fff.convention->name);
    if (const auto* path = std::get_if<LoadedPath>(&fff.weights)) {
      auto weights = ToEngineWeights(*path);
      ops.push_back(weights);
      FFF_ASSIGN_OR_RETURN(weights,
                           engine::Reduced(std::move(weights), precision));
      return FffPathLayer::Make(convention, std::move(weights), options);
    }
    const auto& leaf = std::get<LoadedLeaf>(fff.weights);
    FFF_ASSIGN_OR_RETURN(const auto weights,
                         engine::Reduced(leaf.weights, precision));
    if (leaf.master != nullptr) {
      ops.push_back(engine::MasterLeafOp{leaf.weights, leaf.master->hidden,
                                         leaf.master->output,
                                         leaf.master->fff_share});
      return MasterLeafLayer::Make(convention, weights, *leaf.master, options);
    }
    ops.push_back(leaf.weights);
    return FffLeafLayer::Make(convention, weights, options);
  }
  absl::StatusOr<LayerPtr> operator()(const LoadedLinear& linear) const {
    ops.push_back(linear.weights);
    return LinearLayer::Make(linear.weights, options);
  }
  absl::StatusOr<LayerPtr> operator()(const LoadedLayerNorm& norm) const {
    ops.push_back(engine::LayerNormOp{norm.weight, norm.bias, norm.epsilon});
    return LayerPtr(
        std::make_unique<LayerNormLayer>(norm.weight, norm.bias, norm.epsilon));
  }
  absl::StatusOr<LayerPtr> operator()(
      const ActivationLayerConfig& config) const {
    if (config.activation != engine::Activation::kIdentity) {
      ops.push_back(engine::ActivationOp{config.activation});
    }
    return LayerPtr(
        std::make_unique<ActivationLayer>(config.activation, width));
  }
  absl::StatusOr<LayerPtr> operator()(const FlattenLayerConfig&) const {
    return LayerPtr(std::make_unique<FlattenLayer>(width));
  }
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> BuildChain(
    const EdgeConfig& input, const EdgeConfig& output,
    absl::Span<const LoadedLayer> layers, const ChainNames& names,
    const BuildOptions& options) {
  FFF_ASSIGN_OR_RETURN(const std::vector<int64_t> widths,
                       ResolveWidths(input, layers, names));
  FFF_ASSIGN_OR_RETURN(TensorSpec input_spec,
                       MakeEdge(input, "input", widths.front(), names));
  FFF_ASSIGN_OR_RETURN(TensorSpec output_spec,
                       MakeEdge(output, "output", widths.back(), names));
  engine::PlanOptions plan;
  plan.dense_allowed = options.dense_allowed;
  std::vector<LayerPtr> made;
  LayerOps ops(layers.size());
  const double share = TuningShare(layers, options.tuning_seconds);
  for (size_t i = 0; i < layers.size(); ++i) {
    plan.tuning_seconds = ChoiceMovesNoRoute(layers, i) ? share : 0;
    absl::StatusOr<LayerPtr> layer = std::visit(
        MakeLayer{widths[i], plan, options.precision, ops[i]}, layers[i]);
    if (!layer.ok()) {
      return base::Annotate(layer.status(), Place(names, i, layers[i]));
    }
    made.push_back(*std::move(layer));
  }
  auto model = std::make_shared<Model>(std::move(input_spec),
                                       std::move(output_spec), std::move(made));
  FFF_ASSIGN_OR_RETURN(auto copy, CopyToDevice(*model, ops, options.placement));
  model->SetDeviceCopy(std::move(copy));
  return std::shared_ptr<const Model>(std::move(model));
}

}  // namespace fff::model

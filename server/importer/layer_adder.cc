#include "server/importer/layer_adder.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::importer {
namespace {

// "rows of width 784", "tokens of width 48", "rows of [17, 32]".
std::string RowsText(const graph::ValueType& type) {
  const tensor::Shape shape = type.shape();
  const char* what = type.per_token() ? "tokens" : "rows";
  if (shape.size() == 1) return absl::StrCat(what, " of width ", shape[0]);
  return absl::StrCat(what, " of ", tensor::ToString(shape));
}

std::string ShapeText(const graph::ValueType& type) {
  return absl::StrCat(tensor::ToString(type.shape()),
                      type.per_token() ? " per token" : "");
}

std::string Here(const LoadedLayer& layer) {
  return absl::StrCat(layer.place, " (", layer.layer.type, ")");
}

}  // namespace

graph::Port PortOf(const EdgeConfig& edge) {
  graph::Port port;
  port.name = edge.name;
  port.data_type = edge.data_type;
  port.shape.assign(edge.shape.begin(), edge.shape.end());
  port.labels = edge.labels;
  port.sequence = edge.sequence;
  port.optional = edge.optional;
  if (edge.mask) {
    port.role = graph::Port::Role::kMask;
    port.limit = 2;
  }
  return port;
}

LayerAdder::LayerAdder(const Names& names, std::string giver,
                       LayerContext context, graph::GraphBuilder& builder)
    : names_(names),
      giver_(std::move(giver)),
      context_(context),
      builder_(builder) {}

absl::Status LayerAdder::Failed(const LoadedLayer& layer,
                                const absl::Status& status) const {
  return base::Annotate(status, absl::StrCat(names_.source, ": ", Here(layer)));
}

absl::StatusOr<graph::ValueId> LayerAdder::Add(
    absl::Span<const LoadedLayer> layers, graph::ValueId value) {
  for (const LoadedLayer& layer : layers) {
    auto next = layer.output.has_value() ? AddBranch(layer, value)
                : layer.inside.empty()   ? AddOne(layer, value)
                                         : AddResidual(layer, value);
    if (!next.ok()) return next;
    value = *next;
  }
  return value;
}

absl::StatusOr<graph::ValueId> LayerAdder::AddOne(const LoadedLayer& layer,
                                                  graph::ValueId value) {
  builder_.BeginLayer(layer.layer);
  builder_.layer().input_width = builder_.WidthOf(value);
  const int64_t wanted = layer.input_width;
  const graph::ValueType& type = builder_.TypeOf(value);
  // Of ids the op says that it wants floats.
  if (wanted > 0 && type.data_type == tensor::DataType::kF32 &&
      graph::TokensOf(type, wanted) == 0) {
    return Failed(layer, absl::InvalidArgumentError(
                             absl::StrCat("got ", RowsText(type), " from ",
                                          giver_, ", wanted ", wanted)));
  }
  auto next = layer.add(builder_, value, context_);
  if (!next.ok()) return Failed(layer, next.status());
  builder_.layer().output_width = builder_.WidthOf(*next);
  if (wanted > 0) giver_ = Here(layer);
  return next;
}

absl::StatusOr<graph::ValueId> LayerAdder::AddResidual(const LoadedLayer& layer,
                                                       graph::ValueId value) {
  const graph::ValueType input = builder_.TypeOf(value);
  FFF_ASSIGN_OR_RETURN(const graph::ValueId inside, Add(layer.inside, value));
  const graph::ValueType& output = builder_.TypeOf(inside);
  if (output.shape() != input.shape() ||
      output.per_token() != input.per_token() || inside == value) {
    return Failed(
        layer, absl::InvalidArgumentError(absl::StrCat(
                   "its layers make ", ShapeText(output), " of ",
                   ShapeText(input), "; to be added the two must be alike")));
  }
  builder_.BeginLayer(layer.layer);
  builder_.layer().input_width = builder_.WidthOf(value);
  builder_.layer().output_width = builder_.WidthOf(inside);
  const int64_t width = builder_.WidthOf(value);
  const graph::ValueId both[] = {inside, value};
  auto sum = builder_.Add(graph::Add{{std::make_shared<const graph::AddWeights>(
                              graph::AddWeights{{width, width}})}},
                          both);
  if (!sum.ok()) return Failed(layer, sum.status());
  return sum;
}

absl::StatusOr<graph::ValueId> LayerAdder::AddBranch(const LoadedLayer& layer,
                                                     graph::ValueId value) {
  const graph::ValueType input = builder_.TypeOf(value);
  const std::string giver = giver_;
  FFF_ASSIGN_OR_RETURN(const graph::ValueId result, Add(layer.inside, value));
  const graph::ValueType made = builder_.TypeOf(result);
  Output output = {PortOf(*layer.output), result};
  output.port.shape = made.shape();
  FFF_RETURN_IF_ERROR(CheckOutput(layer, made));
  builder_.BeginLayer(layer.layer);
  builder_.layer().text =
      absl::StrCat("output \"", output.port.name, "\": ", RowsText(made));
  builder_.layer().input_width = made.width();
  builder_.layer().output_width = made.width();
  outputs_.push_back(std::move(output));
  builder_.Restore(value, input);  // the branch may have flattened it
  giver_ = giver;
  return value;
}

absl::Status LayerAdder::CheckOutput(const LoadedLayer& layer,
                                     const graph::ValueType& made) const {
  if (made.data_type != tensor::DataType::kF32) {
    return Failed(layer, absl::InvalidArgumentError(absl::StrCat(
                             "got ", made.ToString(), ", wanted F32")));
  }
  const auto labels = static_cast<int64_t>(layer.output->labels.size());
  if (labels == 0 || labels == made.width()) return absl::OkStatus();
  return Failed(layer, absl::InvalidArgumentError(absl::StrCat(
                           "labels: found ", labels, " labels, wanted ",
                           made.width(), ", one per column of the output")));
}

}  // namespace fff::importer

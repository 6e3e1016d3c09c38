#include "server/graph/op.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"

namespace fff::graph {
namespace {

// Mean; variance; normalise; scale; shift.
constexpr double kLayerNormStepsPerElement = 7;
constexpr double kBlendStepsPerElement = 3;

std::string Counted(int64_t count, absl::string_view one,
                    absl::string_view many) {
  return absl::StrCat(count, " ", count == 1 ? one : many);
}

absl::string_view TieClause(Tie tie) {
  return tie == Tie::kRight ? ", right when z >= 0" : ", right when z > 0";
}

// One int32 for each token of `x`, `width` per row.
absl::Status CheckMask(const ValueType& mask, const ValueType& x,
                       int64_t width) {
  if (mask.data_type == tensor::DataType::kI32 &&
      mask.per_token() == x.per_token() && mask.width() == width) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("got a mask ", mask.ToString(),
                                                 " for ", x.ToString(),
                                                 ", wanted an I32 per token"));
}

}  // namespace

ValueType ValueType::Rows(int64_t width) {
  ValueType type;
  type.dims = {{Dim::Kind::kRows, 0}, {Dim::Kind::kFixed, width}};
  return type;
}

ValueType ValueType::Rows(absl::Span<const int64_t> shape) {
  ValueType type;
  type.dims = {{Dim::Kind::kRows, 0}};
  for (const int64_t size : shape)
    type.dims.push_back({Dim::Kind::kFixed, size});
  return type;
}

ValueType ValueType::Tokens(int64_t width) {
  ValueType type;
  type.dims = {{Dim::Kind::kTokens, 0}, {Dim::Kind::kFixed, width}};
  return type;
}

ValueType ValueType::Shaped(absl::Span<const int64_t> shape) const {
  ValueType type = Rows(shape);
  type.dims[0] = dims[0];
  return type;
}

tensor::Shape ValueType::shape() const {
  tensor::Shape shape;
  for (const Dim& dim : dims) {
    if (dim.kind == Dim::Kind::kFixed) shape.push_back(dim.size);
  }
  return shape;
}

int64_t ValueType::width() const {
  int64_t width = 1;
  for (const Dim& dim : dims) {
    if (dim.kind == Dim::Kind::kFixed) width *= dim.size;
  }
  return width;
}

std::string ValueType::ToString() const {
  return absl::StrCat(tensor::Name(data_type), " [",
                      absl::StrJoin(dims, ", ",
                                    [](std::string* out, const Dim& dim) {
                                      if (dim.kind == Dim::Kind::kFixed) {
                                        absl::StrAppend(out, dim.size);
                                      } else {
                                        absl::StrAppend(
                                            out, dim.kind == Dim::Kind::kRows
                                                     ? "rows"
                                                     : "tokens");
                                      }
                                    }),
                      "]");
}

int64_t TokensOf(const ValueType& in, int64_t input_width) {
  const int64_t width = in.width();
  if (width == input_width) return 1;
  const Dim& last = in.dims.back();
  return last.kind == Dim::Kind::kFixed && last.size == input_width
             ? width / input_width
             : 0;
}

ValueType OutputOf(const ValueType& in, int64_t input_width,
                   int64_t output_width) {
  ValueType out = in;
  if (out.dims.back().size != input_width) return in.Shaped({output_width});
  out.dims.back().size = output_width;
  return out;
}

std::string FffPath::Describe() const {
  const PathProblem& p = problem();
  return absl::StrCat(p.input_width, " -> ", p.output_width, ", ",
                      Counted(p.trees, "tree of ", "trees of "),
                      Counted(p.levels, "level (", "levels ("),
                      Counted(p.nodes(), "node), ", "nodes), "),
                      Name(p.activation), TieClause(p.tie),
                      PrecisionText(p.precision));
}

Cost FffPath::cost() const {
  const PathProblem& p = problem();
  const double visited =
      static_cast<double>(p.levels) * static_cast<double>(p.trees);
  const double bias = p.has_bias ? sizeof(float) : 0;
  const auto products = static_cast<double>(p.input_width + p.output_width);
  const auto bytes = static_cast<double>(BytesAWeight(p.precision));
  return {visited * 2 * products, visited * (products * bytes + bias)};
}

int64_t FffPath::weights_bytes() const {
  return FloatBytes(weights->x.size() + weights->bias.size() +
                    weights->y.size()) +
         weights->reduced_x.bytes() + weights->reduced_y.bytes();
}

RoutingShape FffPath::routing() const {
  return {RoutingShape::Family::kPath, problem().trees, problem().levels,
          problem().levels - 1};
}

NeuronCount FffPath::neurons() const {
  const PathProblem& p = problem();
  return {p.trees * p.nodes(), p.trees * p.levels, p.activation};
}

std::string FffLeaf::Describe() const {
  const LeafProblem& p = problem();
  return absl::StrCat(p.input_width, " -> (", p.leaf_width, ") -> ",
                      p.output_width, ", depth ", p.depth, " (",
                      Counted(p.leaves(), "leaf), ", "leaves), "),
                      Name(p.activation), TieClause(p.tie),
                      p.has_output_bias ? "" : ", no leaf output bias",
                      PrecisionText(p.precision));
}

Cost FffLeaf::cost() const {
  const LeafProblem& p = problem();
  const double depth = p.depth;
  const auto in = static_cast<double>(p.input_width);
  const auto leaf = static_cast<double>(p.leaf_width);
  const auto out = static_cast<double>(p.output_width);
  const double matrices = depth * in + in * leaf + leaf * out;
  const double biases = depth + leaf + (p.has_output_bias ? out : 0);
  const auto bytes = static_cast<double>(BytesAWeight(p.precision));
  return {2 * matrices, bytes * matrices + sizeof(float) * biases};
}

int64_t FffLeaf::weights_bytes() const {
  return FloatBytes(weights->node_weights.size() + weights->node_biases.size() +
                    weights->w1.size() + weights->b1.size() +
                    weights->w2.size() + weights->b2.size()) +
         weights->reduced_node_weights.bytes() + weights->reduced_w1.bytes() +
         weights->reduced_w2.bytes();
}

RoutingShape FffLeaf::routing() const {
  return {RoutingShape::Family::kLeaf, 1, problem().depth, problem().depth};
}

NeuronCount FffLeaf::neurons() const {
  const LeafProblem& p = problem();
  return {p.leaves() * p.leaf_width, p.depth + p.leaf_width, p.activation};
}

std::string Linear::Describe() const {
  const DenseProblem& p = problem();
  std::string text = absl::StrCat(p.input_width, " -> ", p.output_width,
                                  p.has_bias ? "" : " without bias");
  if (p.activation != Activation::kIdentity) {
    absl::StrAppend(&text, ", ", Name(p.activation));
  }
  return text;
}

Cost Linear::cost() const {
  const DenseProblem& p = problem();
  const double products =
      static_cast<double>(p.input_width) * static_cast<double>(p.output_width);
  const double bias = p.has_bias ? static_cast<double>(p.output_width) : 0;
  return {2 * products, (products + bias) * sizeof(float)};
}

int64_t Linear::weights_bytes() const {
  return FloatBytes(weights->w.size() + weights->bias.size());
}

NeuronCount Linear::neurons() const {
  const DenseProblem& p = problem();
  if (p.activation == Activation::kIdentity) return {};
  return {p.output_width, p.output_width, p.activation};
}

Cost Activate::cost() const {
  return {static_cast<double>(problem().input_width), 0};
}

Cost LayerNorm::cost() const {
  return {
      kLayerNormStepsPerElement * static_cast<double>(problem().input_width),
      static_cast<double>(weights_bytes())};
}

int64_t LayerNorm::weights_bytes() const {
  return FloatBytes(weights->weight.size() + weights->bias.size());
}

Cost Blend::cost() const {
  return {kBlendStepsPerElement * static_cast<double>(problem().input_width),
          0};
}

absl::string_view NameOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.kName; });
}

size_t InputsOf(const Op& op) {
  return Visit(op, [](const auto& o) {
    return o.kInputs + static_cast<size_t>(o.masked());
  });
}

int64_t TokensMaxOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.tokens_max(); });
}

int64_t InputWidthOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.problem().input_width; });
}

bool MayOverwrite(const Op& op) {
  return Visit(op, [](const auto& o) { return o.kMayOverwrite; });
}

bool OnDevices(const Op& op) {
  return Visit(op, [](const auto& o) { return o.kOnDevices; });
}

RoutingShape RoutingOf(const Op& op) {
  return Visit(op, [](const auto& o) { return o.routing(); });
}

absl::StatusOr<ValueType> Infer(const Op& op, absl::Span<const ValueType> in) {
  if (in.size() != InputsOf(op)) {
    return absl::InvalidArgumentError(absl::StrCat(
        NameOf(op), ": got ", in.size(), " inputs, wanted ", InputsOf(op)));
  }
  return Visit(op, [&](const auto& o) -> absl::StatusOr<ValueType> {
    if (o.spans_sequences() && !in[0].per_token()) {
      return absl::InvalidArgumentError(absl::StrCat(
          NameOf(op), ": got rows of one length, wanted ", "sequences of any"));
    }
    const int64_t width = o.problem().input_width;
    int64_t tokens = TokensOf(in[0], width);
    // What knows where a row's tokens lie is not applied to parts of it.
    if (tokens != 1 && (o.spans_sequences() || o.masked())) tokens = 0;
    for (const ValueType& type : in.subspan(0, o.kInputs)) {
      if (type.data_type != o.kInputType) {
        return absl::InvalidArgumentError(
            absl::StrCat("got elements of type ", tensor::Name(type.data_type),
                         ", wanted ", tensor::Name(o.kInputType)));
      }
      if (type.per_token() != in[0].per_token()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "got ", type.ToString(), " beside ", in[0].ToString()));
      }
      if (tokens > 0 && TokensOf(type, width) == tokens) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("got rows of width ", type.width(), ", wanted ", width));
    }
    if (o.masked()) {
      FFF_RETURN_IF_ERROR(CheckMask(in.back(), in[0], o.mask_width()));
    }
    return o.Output(in[0]);
  });
}

}  // namespace fff::graph

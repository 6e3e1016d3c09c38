#include "server/importer/layouts/leaf_parts.h"

#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/layouts/fff_ops.h"
#include "server/tensor/matrix.h"

namespace fff::importer {
namespace {

using graph::Activation;
using tensor::FloatArray;
using tensor::FloatBuffer;

FloatArray OrZeros(FloatArray values, int64_t size) {
  if (!values.empty()) return values;
  return FloatBuffer(size).Freeze();
}

FloatArray Identities(int64_t count, int64_t width) {
  FloatBuffer made(count * width * width);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t d = 0; d < width; ++d) {
      made.data()[(i * width + d) * width + d] = 1;
    }
  }
  return std::move(made).Freeze();
}

}  // namespace

absl::StatusOr<graph::Op> LeafOp(const LayerConfig& config,
                                 const Convention& convention,
                                 LeafParts parts) {
  auto weights = std::make_shared<graph::LeafWeights>();
  graph::LeafProblem& problem = weights->problem;
  problem.input_width = parts.in;
  problem.leaf_width = parts.width;
  problem.output_width = parts.out;
  problem.depth = parts.depth;
  problem.tie = config.tie.value_or(convention.tie);
  FFF_ASSIGN_OR_RETURN(problem.activation, ActivationOf(config, convention));
  problem.has_output_bias = config.output_bias.value_or(!parts.b2.empty());
  if (problem.has_output_bias && parts.b2.empty()) {
    return absl::InvalidArgumentError(
        "\"output_bias\": found true, but the checkpoint has none");
  }
  weights->node_weights = std::move(parts.nodes);
  weights->node_biases =
      OrZeros(std::move(parts.node_biases), parts.node_count());
  weights->w1 = std::move(parts.w1);
  weights->b1 = OrZeros(std::move(parts.b1), parts.leaves() * parts.width);
  weights->w2 = std::move(parts.w2);
  if (problem.has_output_bias) weights->b2 = std::move(parts.b2);
  return graph::FffLeaf{{std::move(weights)}};
}

absl::StatusOr<graph::Op> AffineLeafOp(const LayerConfig& config,
                                       const Convention& convention,
                                       LeafParts parts, FloatArray w,
                                       FloatArray b) {
  FFF_ASSIGN_OR_RETURN(const Activation activation,
                       ActivationOf(config, convention));
  LayerConfig known = config;
  known.activation = activation;
  known.output_bias.reset();
  if (!config.output_bias.value_or(true)) b = FloatArray();
  if (config.output_bias.value_or(false) && b.empty()) {
    return absl::InvalidArgumentError(
        "\"output_bias\": found true, but the checkpoint has none");
  }
  const bool behind =
      activation != Activation::kIdentity || parts.out <= parts.in;
  parts.width = behind ? parts.out : parts.in;
  FFF_RETURN_IF_ERROR(CheckMade(parts.leaves() * parts.width, parts.width));
  if (behind) {
    parts.w1 = std::move(w);
    parts.b1 = std::move(b);
    parts.w2 = Identities(parts.leaves(), parts.width);
  } else {
    parts.w1 = Identities(parts.leaves(), parts.width);
    parts.w2 = std::move(w);
    parts.b2 = std::move(b);
  }
  return LeafOp(known, convention, std::move(parts));
}

absl::StatusOr<int> DepthOfNodes(const TensorShapes& tensors,
                                 absl::string_view name, int64_t rows) {
  const int depth = LevelsOf(rows);
  if (depth > 0 && depth < graph::kLevelsMax) return depth;
  return absl::InvalidArgumentError(absl::StrCat(QuotedTensor(tensors, name),
                                                 ": found ", rows,
                                                 " nodes, wanted 2^depth - 1"));
}

absl::StatusOr<FloatArray> FloatsIfThere(const TensorShapes& tensors,
                                         absl::string_view name,
                                         absl::Span<const int64_t> shape,
                                         TensorReader& reader) {
  if (!tensors.Has(name)) return FloatArray();
  return reader.Floats(tensors.FullName(name), shape);
}

FloatArray TransposedEach(absl::Span<const float> from, int64_t count,
                          int64_t rows, int64_t columns) {
  const int64_t size = rows * columns;
  FloatBuffer made(count * size);
  for (int64_t i = 0; i < count; ++i) {
    tensor::TransposeInto(
        from.subspan(static_cast<size_t>(i * size), static_cast<size_t>(size)),
        rows, columns, made.data() + i * size, rows);
  }
  return std::move(made).Freeze();
}

std::string Numbered::Name(int64_t i) const {
  return absl::StrCat(head, i, tail);
}

absl::StatusOr<FloatArray> Stacked(const TensorShapes& tensors,
                                   const Numbered& names,
                                   const tensor::Shape& shape,
                                   TensorReader& reader) {
  int64_t size = 1;
  for (const int64_t dimension : shape) size *= dimension;
  FFF_RETURN_IF_ERROR(CheckMade(names.count, size));
  FloatBuffer all(names.count * size);
  for (int64_t i = 0; i < names.count; ++i) {
    FFF_ASSIGN_OR_RETURN(const FloatArray one,
                         reader.Floats(tensors.FullName(names.Name(i)), shape));
    absl::c_copy(one.span(), all.data() + i * size);
  }
  return std::move(all).Freeze();
}

absl::StatusOr<FloatArray> StackedBiases(const TensorShapes& tensors,
                                         const Numbered& names, int64_t width,
                                         TensorReader& reader) {
  if (!tensors.Has(names.Name(0))) return FloatArray();
  return Stacked(tensors, names, {width}, reader);
}

absl::Status CheckCount(const TensorShapes& tensors, const Numbered& names) {
  const int64_t found = CountNumbered(tensors, names.head, names.tail);
  if (found == names.count) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(QuotedTensor(tensors, names.Name(0)), " and on: found ",
                   found, ", wanted ", names.count, ", one per leaf"));
}

FloatArray Slice(const FloatArray& of, int64_t begin, int64_t count) {
  if (of.empty()) return of;
  return FloatArray(std::make_shared<const FloatArray>(of),
                    of.span().subspan(static_cast<size_t>(begin),
                                      static_cast<size_t>(count)));
}

}  // namespace fff::importer

#include "server/importer/dense_weights.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::importer {

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

absl::StatusOr<graph::DenseWeights> ReadDense(const std::string& weight,
                                              const std::string& bias,
                                              TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape,
                       WidthsOf(weight, 2, "[O, I]", reader));
  graph::DenseWeights weights;
  weights.problem = {shape[1], shape[0], graph::Activation::kIdentity,
                     reader.Has(bias)};
  FFF_ASSIGN_OR_RETURN(weights.w, reader.Floats(weight, shape));
  if (weights.problem.has_bias) {
    FFF_ASSIGN_OR_RETURN(weights.bias, reader.Floats(bias, {shape[0]}));
  }
  return weights;
}

}  // namespace fff::importer

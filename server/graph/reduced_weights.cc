#include "server/graph/reduced_weights.h"

#include "absl/strings/string_view.h"
#include "server/base/status_macros.h"

namespace fff::graph {
namespace {

absl::StatusOr<ReducedMatrix> Reduce(const tensor::FloatArray& values,
                                     int64_t width, Precision precision,
                                     absl::string_view name) {
  auto matrix = ReducedMatrix::Of(values.span(), width, precision);
  if (!matrix.ok()) return base::Annotate(matrix.status(), name);
  return matrix;
}

// Each of `count` matrices [rows, columns] transposed.
tensor::FloatArray TransposedEach(const tensor::FloatArray& from, int64_t count,
                                  int64_t rows, int64_t columns) {
  tensor::FloatBuffer to(from.size());
  for (int64_t m = 0; m < count; ++m) {
    const int64_t first = m * rows * columns;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        to.data()[first + c * rows + r] = from[first + r * columns + c];
      }
    }
  }
  return std::move(to).Freeze();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PathWeights>> Reduced(
    std::shared_ptr<const PathWeights> weights, Precision precision) {
  if (precision == Precision::kFp32) return weights;
  const PathProblem& p = weights->problem;
  auto reduced = std::make_shared<PathWeights>();
  reduced->problem = p;
  reduced->problem.precision = precision;
  reduced->bias = weights->bias;
  FFF_ASSIGN_OR_RETURN(reduced->reduced_x,
                       Reduce(weights->x, p.input_width, precision, "X"));
  FFF_ASSIGN_OR_RETURN(reduced->reduced_y,
                       Reduce(weights->y, p.output_width, precision, "Y"));
  return std::shared_ptr<const PathWeights>(std::move(reduced));
}

absl::StatusOr<std::shared_ptr<const LeafWeights>> Reduced(
    std::shared_ptr<const LeafWeights> weights, Precision precision) {
  if (precision == Precision::kFp32) return weights;
  const LeafProblem& p = weights->problem;
  auto reduced = std::make_shared<LeafWeights>();
  reduced->problem = p;
  reduced->problem.precision = precision;
  reduced->node_biases = weights->node_biases;
  reduced->b1 = weights->b1;
  reduced->b2 = weights->b2;
  FFF_ASSIGN_OR_RETURN(
      reduced->reduced_node_weights,
      Reduce(weights->node_weights, p.input_width, precision, "node weights"));
  const tensor::FloatArray by_neuron =
      TransposedEach(weights->w1, p.leaves(), p.input_width, p.leaf_width);
  FFF_ASSIGN_OR_RETURN(reduced->reduced_w1, Reduce(by_neuron, p.input_width,
                                                   precision, "w1 by neuron"));
  FFF_ASSIGN_OR_RETURN(reduced->reduced_w2,
                       Reduce(weights->w2, p.output_width, precision, "w2"));
  return std::shared_ptr<const LeafWeights>(std::move(reduced));
}

std::shared_ptr<const PathWeights> WithWidened(const PathWeights& weights) {
  auto wide = std::make_shared<PathWeights>(weights);
  wide->x = weights.reduced_x.Widened();
  wide->y = weights.reduced_y.Widened();
  return wide;
}

std::shared_ptr<const LeafWeights> WithWidened(const LeafWeights& weights) {
  const LeafProblem& p = weights.problem;
  auto wide = std::make_shared<LeafWeights>(weights);
  wide->node_weights = weights.reduced_node_weights.Widened();
  wide->w1 = TransposedEach(weights.reduced_w1.Widened(), p.leaves(),
                            p.leaf_width, p.input_width);
  wide->w2 = weights.reduced_w2.Widened();
  return wide;
}

}  // namespace fff::graph

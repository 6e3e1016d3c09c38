#include "server/importer/layouts/path_readers.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/fff_tensors.h"
#include "server/importer/layouts/fff_ops.h"
#include "server/importer/layouts/layout_checks.h"
#include "server/tensor/matrix.h"

namespace fff::importer {
namespace {

using graph::Activation;
using tensor::FloatArray;
using tensor::FloatBuffer;

// jax.nn.standardize's.
constexpr double kStandardizeEpsilon = 1e-5;

FloatArray Standardised(const FloatArray& rows, int64_t width) {
  FloatBuffer made(rows.size());
  for (int64_t at = 0; at < rows.size(); at += width) {
    double sum = 0;
    double squares = 0;
    for (int64_t i = at; i < at + width; ++i) sum += rows[i];
    const double mean = sum / static_cast<double>(width);
    for (int64_t i = at; i < at + width; ++i) {
      squares += (rows[i] - mean) * (rows[i] - mean);
    }
    const double deviation =
        std::sqrt(squares / static_cast<double>(width) + kStandardizeEpsilon);
    for (int64_t i = at; i < at + width; ++i) {
      made.data()[i] = static_cast<float>((rows[i] - mean) / deviation);
    }
  }
  return std::move(made).Freeze();
}

FloatArray Scaled(const FloatArray& values, double factor) {
  FloatBuffer made(values.size());
  for (int64_t i = 0; i < values.size(); ++i) {
    made.data()[i] = static_cast<float>(values[i] * factor);
  }
  return std::move(made).Freeze();
}

// A linear op without bias from w [out, in].
graph::Op LinearOf(FloatArray w, int64_t in, int64_t out,
                   Activation activation) {
  auto weights = std::make_shared<graph::DenseWeights>();
  weights->problem = {in, out, activation, false};
  weights->w = std::move(w);
  return graph::Linear{{std::move(weights)}};
}

// The layer's ops with tie and activation as config.json and convention say.
absl::StatusOr<graph::FffPath> LevelRowsOp(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader) {
  const Layout& layout = *convention.layout;
  auto weights = std::make_shared<graph::PathWeights>();
  FFF_ASSIGN_OR_RETURN(weights->problem, LevelRowsOf(tensors, convention));
  graph::PathProblem& problem = weights->problem;
  problem.tie = config.tie.value_or(problem.tie);
  FFF_ASSIGN_OR_RETURN(problem.activation, ActivationOf(config, convention));
  const int64_t in = problem.input_width;
  FFF_RETURN_IF_ERROR(CheckMade(problem.nodes(), in));
  FFF_ASSIGN_OR_RETURN(
      const FloatArray rows,
      reader.Floats(tensors.FullName(layout.x), {problem.levels, in}));
  FFF_ASSIGN_OR_RETURN(weights->y,
                       reader.Floats(tensors.FullName(layout.y),
                                     {problem.nodes(), problem.output_width}));
  FloatBuffer x(problem.nodes() * in);
  float* to = x.data();
  for (int level = 0; level < problem.levels; ++level) {
    const auto row = rows.span().subspan(static_cast<size_t>(level * in),
                                         static_cast<size_t>(in));
    for (int64_t node = 0; node < int64_t{1} << level; ++node, to += in) {
      absl::c_copy(row, to);
    }
  }
  weights->x = std::move(x).Freeze();
  return graph::FffPath{{std::move(weights)}, {}};
}

}  // namespace

absl::StatusOr<LoadedLayer> ReadStandardisedRows(const LayerConfig& config,
                                                 const Convention& convention,
                                                 const TensorShapes& tensors,
                                                 TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(const graph::FffPath raw,
                       ReadPathOp(config, convention, tensors, reader));
  const graph::PathProblem& problem = raw.problem();
  auto weights = std::make_shared<graph::PathWeights>(*raw.weights);
  weights->x = Standardised(weights->x, problem.input_width);
  weights->y = Standardised(weights->y, problem.output_width);
  return FffOp(convention, problem.input_width,
               graph::FffPath{{std::move(weights)}, {}});
}

absl::StatusOr<LoadedLayer> ReadFlatRows(const LayerConfig& config,
                                         const Convention& convention,
                                         const TensorShapes& tensors,
                                         TensorReader& reader) {
  const Layout& layout = *convention.layout;
  auto weights = std::make_shared<graph::PathWeights>();
  FFF_ASSIGN_OR_RETURN(weights->problem, FlatRowsOf(tensors, convention));
  graph::PathProblem& problem = weights->problem;
  problem.tie = config.tie.value_or(problem.tie);
  FFF_ASSIGN_OR_RETURN(problem.activation, ActivationOf(config, convention));
  FFF_ASSIGN_OR_RETURN(
      weights->x, reader.Floats(tensors.FullName(layout.x),
                                {problem.nodes() * problem.input_width, 1}));
  FFF_ASSIGN_OR_RETURN(weights->y,
                       reader.Floats(tensors.FullName(layout.y),
                                     {problem.nodes(), problem.output_width}));
  const int64_t in = problem.input_width;
  return FffOp(convention, in, graph::FffPath{{std::move(weights)}, {}});
}

absl::StatusOr<LoadedLayer> ReadLevelRows(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(graph::FffPath op,
                       LevelRowsOp(config, convention, tensors, reader));
  const int64_t in = op.problem().input_width;
  return FffOp(convention, in, std::move(op));
}

absl::StatusOr<LoadedLayer> ReadBojanFlat(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader) {
  // Nodes of both have no activation; the convention's stands between them.
  LayerConfig inside = config;
  inside.activation = Activation::kIdentity;
  Layout layout = *convention.layout;
  layout.x = "PathSelector.weight";
  layout.y = "Y";
  Convention half = convention;
  half.layout = &layout;
  FFF_ASSIGN_OR_RETURN(
      graph::FffPath first,
      LevelRowsOp(inside, half, UnderPrefix(tensors, "net.0."), reader));
  FFF_ASSIGN_OR_RETURN(
      graph::FffPath second,
      LevelRowsOp(inside, half, UnderPrefix(tensors, "net.3."), reader));
  const int64_t in = first.problem().input_width;
  const int64_t hidden = first.problem().output_width;
  if (second.problem().input_width != hidden) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedTensor(tensors, "net.3.PathSelector.weight"),
                     ": found width ", second.problem().input_width,
                     ", wanted ", hidden, ", what \"net.0.Y\" makes"));
  }
  FFF_ASSIGN_OR_RETURN(const Activation activation,
                       ActivationOf(config, convention));
  auto between = std::make_shared<graph::ActivationWeights>();
  between->problem = {hidden, hidden, activation};
  Branch chain = {std::move(first), graph::Activate{{std::move(between)}},
                  std::move(second)};
  return FffBranches(convention, in, {std::move(chain)});
}

absl::StatusOr<LoadedLayer> ReadPairAndMlp(const LayerConfig& config,
                                           const Convention& convention,
                                           const TensorShapes& tensors,
                                           TensorReader& reader) {
  FFF_ASSIGN_OR_RETURN(graph::FffPath path,
                       ReadPathOp(config, convention, tensors, reader));
  const int64_t in = path.problem().input_width;
  const int64_t out = path.problem().output_width;
  const Activation activation = path.problem().activation;
  FFF_ASSIGN_OR_RETURN(const tensor::Shape shape,
                       Expect(tensors, "dense_in.weight", {{"M"}, {"I", in}}));
  const int64_t hidden = shape[0];
  FFF_ASSIGN_OR_RETURN(
      FloatArray w_in,
      reader.Floats(tensors.FullName("dense_in.weight"), {hidden, in}));
  FFF_ASSIGN_OR_RETURN(
      FloatArray w_out,
      reader.Floats(tensors.FullName("dense_out.weight"), {out, hidden}));
  Branch mlp = {LinearOf(std::move(w_in), in, hidden, activation),
                LinearOf(std::move(w_out), hidden, out, Activation::kIdentity)};
  return FffBranches(convention, in, {{std::move(path)}, std::move(mlp)});
}

absl::StatusOr<LoadedLayer> ReadPreluPair(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader) {
  if (config.activation.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"activation\": found \"", graph::Name(*config.activation),
        "\", but the checkpoint has its own, ",
        QuotedTensor(tensors, "activation.weight"), ", a PReLU"));
  }
  FFF_ASSIGN_OR_RETURN(const graph::FffPath raw,
                       ReadPathOp(config, convention, tensors, reader));
  FFF_ASSIGN_OR_RETURN(const float slope,
                       reader.Scalar(tensors.FullName("activation.weight")));
  auto linear = std::make_shared<graph::PathWeights>(*raw.weights);
  linear->problem.activation = Activation::kIdentity;
  linear->y = Scaled(raw.weights->y, slope);
  auto bent = std::make_shared<graph::PathWeights>(*raw.weights);
  bent->problem.activation = Activation::kRelu;
  bent->y = Scaled(raw.weights->y, 1 - double{slope});
  return FffBranches(convention, raw.problem().input_width,
                     {{graph::FffPath{{std::move(bent)}, {}}},
                      {graph::FffPath{{std::move(linear)}, {}}}});
}

absl::StatusOr<LoadedLayer> ReadDenseRows(const LayerConfig& config,
                                          const Convention& convention,
                                          const TensorShapes& tensors,
                                          TensorReader& reader) {
  const Layout& layout = *convention.layout;
  FFF_RETURN_IF_ERROR(CheckDenseRows(tensors, convention, config.trees));
  const tensor::Shape& x = *tensors.Find(layout.x);
  const int64_t rows = x[0];
  const int64_t in = x[1];
  const int64_t out = (*tensors.Find(layout.y))[1];
  FFF_ASSIGN_OR_RETURN(const Activation activation,
                       ActivationOf(config, convention));
  FFF_ASSIGN_OR_RETURN(FloatArray w_in,
                       reader.Floats(tensors.FullName(layout.x), {rows, in}));
  FFF_ASSIGN_OR_RETURN(const FloatArray y,
                       reader.Floats(tensors.FullName(layout.y), {rows, out}));
  Branch mlp = {LinearOf(std::move(w_in), in, rows, activation),
                LinearOf(tensor::Transposed(y.span(), rows, out), rows, out,
                         Activation::kIdentity)};
  return FffBranches(convention, in, {std::move(mlp)});
}

}  // namespace fff::importer

#include "server/model/fff_weights.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/model/detect.h"
#include "server/model/fff_shape.h"
#include "server/model/matrix.h"

namespace fff::model {
namespace {

TensorShapes ShapesOf(const checkpoint::Checkpoint& checkpoint,
                      const std::string& prefix) {
  TensorShapes shapes;
  shapes.prefix = prefix;
  const auto& tensors = checkpoint.tensors();
  for (auto it = tensors.lower_bound(prefix);
       it != tensors.end() && it->first.compare(0, prefix.size(), prefix) == 0;
       ++it) {
    shapes.shapes.emplace(it->first.substr(prefix.size()), it->second.shape);
  }
  return shapes;
}

DetectionHints HintsOf(const FffLayerConfig& config) {
  DetectionHints hints;
  hints.convention = FindConvention(config.convention);
  hints.family = config.family;
  hints.trees = config.trees;
  return hints;
}

// Tensors that the public code saves and inference does not need are no
// leftovers.
void IgnoreKnown(const TensorShapes& tensors, TensorReader& reader) {
  for (const auto& [name, shape] : tensors.shapes) {
    if (IsIgnoredTensor(name)) {
      reader.Ignore(absl::StrCat(tensors.prefix, name));
    }
  }
}

absl::Status CheckDepth(const TensorShapes& tensors, int depth,
                        TensorReader& reader) {
  if (tensors.Find("depth") == nullptr) return absl::OkStatus();
  const std::string name = absl::StrCat(tensors.prefix, "depth");
  FFF_ASSIGN_OR_RETURN(const int64_t stored, reader.Integer(name));
  if (stored == depth) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor \"", name, "\": found ", stored,
                   ", but the tensors' shapes are those of depth ", depth));
}

// Fields that mean nothing for the family that was found.
absl::Status CheckOverrides(const FffLayerConfig& config,
                            const Convention& convention) {
  if (config.family.has_value() && *config.family != convention.family) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"family\": found \"", Name(*config.family), "\", but convention \"",
        convention.name, "\" is of family \"", Name(convention.family), "\""));
  }
  if (convention.family == Family::kLeaf && config.trees.value_or(1) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"trees\": found ", *config.trees,
                     ", but a layer of the leaf family has one tree"));
  }
  if (convention.family == Family::kPath &&
      config.output_bias.value_or(false)) {
    return absl::InvalidArgumentError(
        "\"output_bias\": found true, but a layer of the path family has no "
        "output bias");
  }
  return absl::OkStatus();
}

// A linear pair saved without bias is another public code (fast-ffn), whose tie
// rule differs: it is served when config.json says which tie is meant.
absl::Status CheckPathBias(const FffLayerConfig& config,
                           const Convention& convention,
                           const engine::PathProblem& problem,
                           const std::string& prefix) {
  if (convention.bias.empty() || problem.has_bias || config.tie.has_value()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor \"", prefix, convention.bias, "\" is missing; convention \"",
      convention.name,
      "\" has it; to serve a layer without it set \"tie\" to say where z = 0 "
      "goes"));
}

absl::StatusOr<LoadedPath> LoadPath(const FffLayerConfig& config,
                                    const Convention& convention,
                                    const TensorShapes& tensors,
                                    TensorReader& reader) {
  LoadedPath path;
  FFF_ASSIGN_OR_RETURN(path.problem,
                       PathProblemOf(tensors, convention, config.trees));
  engine::PathProblem& problem = path.problem;
  FFF_RETURN_IF_ERROR(
      CheckPathBias(config, convention, problem, tensors.prefix));
  problem.tie = config.tie.value_or(problem.tie);
  problem.activation = config.activation.value_or(problem.activation);
  const int64_t rows = problem.trees * problem.nodes();
  const auto name = [&](absl::string_view tensor) {
    return absl::StrCat(tensors.prefix, tensor);
  };
  FFF_ASSIGN_OR_RETURN(
      path.x, reader.Floats(name(convention.x), {rows, problem.input_width}));
  if (problem.has_bias) {
    FFF_ASSIGN_OR_RETURN(path.bias,
                         reader.Floats(name(convention.bias), {rows}));
  }
  path.y_transposed = convention.layout == TensorLayout::kLinearPair;
  const tensor::Shape y_shape = path.y_transposed
                                    ? tensor::Shape{problem.output_width, rows}
                                    : tensor::Shape{rows, problem.output_width};
  FFF_ASSIGN_OR_RETURN(path.y, reader.Floats(name(convention.y), y_shape));
  return path;
}

absl::StatusOr<MasterLeafWeights> LoadMasterLeaf(
    const TensorShapes& tensors, const engine::LeafProblem& leaf,
    TensorReader& reader) {
  const int64_t in = leaf.input_width;
  const int64_t out = leaf.output_width;
  FFF_ASSIGN_OR_RETURN(const int64_t width, MasterLeafWidthOf(tensors, leaf));
  const std::string& prefix = tensors.prefix;
  engine::DenseWeights hidden;
  hidden.problem = {in, width, engine::Activation::kRelu, true};
  FFF_ASSIGN_OR_RETURN(
      const tensor::FloatArray w1,
      reader.Floats(absl::StrCat(prefix, "magic_w1"), {1, in, width}));
  hidden.w = Transposed(w1.span(), in, width);
  FFF_ASSIGN_OR_RETURN(
      hidden.bias, reader.Floats(absl::StrCat(prefix, "magic_b1"), {1, width}));
  engine::DenseWeights output;
  output.problem = {width, out, engine::Activation::kIdentity, true};
  FFF_ASSIGN_OR_RETURN(
      const tensor::FloatArray w2,
      reader.Floats(absl::StrCat(prefix, "magic_w2"), {1, width, out}));
  output.w = Transposed(w2.span(), width, out);
  FFF_ASSIGN_OR_RETURN(
      output.bias, reader.Floats(absl::StrCat(prefix, "magic_b2"), {1, out}));
  FFF_ASSIGN_OR_RETURN(const float k, reader.Scalar(absl::StrCat(prefix, "k")));
  MasterLeafWeights master;
  master.hidden =
      std::make_shared<const engine::DenseWeights>(std::move(hidden));
  master.output =
      std::make_shared<const engine::DenseWeights>(std::move(output));
  master.fff_share = static_cast<float>(1 / (1 + std::exp(-double{k})));
  return master;
}

absl::Status ReadLeafTensors(const TensorShapes& tensors,
                             engine::LeafWeights& weights,
                             TensorReader& reader) {
  const engine::LeafProblem& problem = weights.problem;
  const int64_t leaves = problem.leaves();
  const auto name = [&](absl::string_view tensor) {
    return absl::StrCat(tensors.prefix, tensor);
  };
  if (problem.depth > 0) {
    FFF_ASSIGN_OR_RETURN(weights.node_weights,
                         reader.Floats(name("node_weights"),
                                       {problem.nodes(), problem.input_width}));
    FFF_ASSIGN_OR_RETURN(
        weights.node_biases,
        reader.Floats(name("node_biases"), *tensors.Find("node_biases")));
  } else {
    reader.Ignore(name("node_weights"));
    reader.Ignore(name("node_biases"));
  }
  FFF_ASSIGN_OR_RETURN(weights.w1,
                       reader.Floats(name("w1s"), {leaves, problem.input_width,
                                                   problem.leaf_width}));
  FFF_ASSIGN_OR_RETURN(
      weights.b1, reader.Floats(name("b1s"), {leaves, problem.leaf_width}));
  FFF_ASSIGN_OR_RETURN(weights.w2,
                       reader.Floats(name("w2s"), {leaves, problem.leaf_width,
                                                   problem.output_width}));
  if (problem.has_output_bias) {
    FFF_ASSIGN_OR_RETURN(
        weights.b2, reader.Floats(name("b2s"), {leaves, problem.output_width}));
  } else {
    reader.Ignore(name("b2s"));
  }
  return absl::OkStatus();
}

absl::StatusOr<LoadedLeaf> LoadLeaf(const FffLayerConfig& config,
                                    const Convention& convention,
                                    const TensorShapes& tensors,
                                    TensorReader& reader) {
  engine::LeafWeights weights;
  const bool output_bias = config.output_bias.value_or(convention.output_bias);
  FFF_ASSIGN_OR_RETURN(weights.problem,
                       LeafProblemOf(tensors, convention, output_bias));
  weights.problem.tie = config.tie.value_or(weights.problem.tie);
  weights.problem.activation =
      config.activation.value_or(weights.problem.activation);
  FFF_RETURN_IF_ERROR(CheckDepth(tensors, weights.problem.depth, reader));
  FFF_RETURN_IF_ERROR(ReadLeafTensors(tensors, weights, reader));
  LoadedLeaf leaf;
  if (convention.layout == TensorLayout::kMasterLeaf) {
    FFF_ASSIGN_OR_RETURN(MasterLeafWeights master,
                         LoadMasterLeaf(tensors, weights.problem, reader));
    leaf.master = std::make_shared<const MasterLeafWeights>(std::move(master));
  }
  leaf.weights =
      std::make_shared<const engine::LeafWeights>(std::move(weights));
  return leaf;
}

}  // namespace

absl::StatusOr<LoadedFff> LoadFff(const FffLayerConfig& config,
                                  TensorReader& reader) {
  const DetectionHints hints = HintsOf(config);
  TensorShapes tensors = ShapesOf(reader.checkpoint(), config.prefix);
  if (config.prefix.empty()) {
    FFF_ASSIGN_OR_RETURN(const std::string prefix,
                         DetectPrefix(tensors, hints));
    if (!prefix.empty()) tensors = UnderPrefix(tensors, prefix);
  }
  LoadedFff loaded;
  loaded.prefix = tensors.prefix;
  loaded.explicit_choice =
      hints.convention != nullptr || hints.family.has_value();
  FFF_ASSIGN_OR_RETURN(loaded.convention, DetectConvention(tensors, hints));
  const Convention& convention = *loaded.convention;
  FFF_RETURN_IF_ERROR(CheckOverrides(config, convention));
  IgnoreKnown(tensors, reader);
  if (convention.family == Family::kPath) {
    FFF_ASSIGN_OR_RETURN(loaded.weights,
                         LoadPath(config, convention, tensors, reader));
  } else {
    FFF_ASSIGN_OR_RETURN(loaded.weights,
                         LoadLeaf(config, convention, tensors, reader));
  }
  return loaded;
}

std::shared_ptr<const engine::PathWeights> ToEngineWeights(
    const LoadedPath& path) {
  engine::PathWeights weights;
  weights.problem = path.problem;
  weights.x = path.x;
  weights.bias = path.bias;
  weights.y = path.y_transposed
                  ? Transposed(path.y.span(), path.problem.output_width,
                               path.problem.trees * path.problem.nodes())
                  : path.y;
  return std::make_shared<const engine::PathWeights>(std::move(weights));
}

}  // namespace fff::model

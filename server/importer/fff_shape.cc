#include "server/importer/fff_shape.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "server/base/status_macros.h"
#include "server/importer/layouts/tensor_shapes.h"

namespace fff::importer {
namespace {

// "trees=3 (5 levels each), trees=31 (2 levels each)" for 93 rows.
std::string TreesText(int64_t rows) {
  return absl::StrJoin(TreesThatFit(rows), ", ",
                       [](std::string* out, const Trees& fit) {
                         absl::StrAppend(out, "trees=", fit.trees, " (",
                                         fit.levels, " levels each)");
                       });
}

// How many trees of how many levels `rows` node rows are.
absl::Status ReadTrees(const std::string& tensor_name, int64_t rows,
                       std::optional<int64_t> trees,
                       graph::PathProblem& problem) {
  problem.trees = trees.value_or(1);
  problem.levels =
      rows % problem.trees == 0 ? LevelsOf(rows / problem.trees) : 0;
  if (problem.levels > 0) return absl::OkStatus();
  const std::string fits = TreesText(rows);
  return absl::InvalidArgumentError(absl::StrCat(
      tensor_name, ": found ", rows, " node rows, wanted ",
      trees.has_value() ? absl::StrCat(*trees, " * (2^levels - 1)")
                        : std::string("2^levels - 1 for one tree"),
      fits.empty() ? "; no number of trees fits, so this is not a tree of nodes"
                   : "; what fits: ",
      fits));
}

// log2 of the number of leaves, or an error.
absl::StatusOr<int> DepthOf(const TensorShapes& tensors, int64_t leaves) {
  for (int depth = 0; depth < graph::kLevelsMax; ++depth) {
    if (leaves == int64_t{1} << depth) return depth;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      QuotedTensor(tensors, "w1s"), ": found ", leaves,
      " leaves, wanted a power of two up to 2^", graph::kLevelsMax - 1));
}

// node_weights and node_biases. At depth 0 both are empty, and may be absent:
// not every exporter can store a tensor without elements.
absl::Status CheckNodes(const TensorShapes& tensors,
                        const graph::LeafProblem& problem) {
  const int64_t nodes = problem.nodes();
  if (nodes > 0 || tensors.Find("node_weights") != nullptr) {
    FFF_RETURN_IF_ERROR(Expect(tensors, "node_weights",
                               {{"N", nodes}, {"I", problem.input_width}})
                            .status());
  }
  const tensor::Shape* biases = tensors.Find("node_biases");
  if (biases != nullptr && biases->size() == 1) {
    return Expect(tensors, "node_biases", {{"N", nodes}}).status();
  }
  if (nodes > 0 || biases != nullptr) {
    return Expect(tensors, "node_biases", {{"N", nodes}, {"1", 1}}).status();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<graph::PathProblem> PathProblemOf(const TensorShapes& tensors,
                                                 const Convention& convention,
                                                 std::optional<int64_t> trees) {
  graph::PathProblem problem;
  problem.tie = convention.tie;
  problem.activation =
      convention.activation.value_or(graph::Activation::kIdentity);
  FFF_ASSIGN_OR_RETURN(const tensor::Shape x,
                       Expect(tensors, convention.layout->x, {{"N"}, {"I"}}));
  const int64_t rows = x[0];
  problem.input_width = x[1];
  const bool transposed = convention.layout->y_columns;
  const std::vector<Dimension> y_wanted =
      transposed ? std::vector<Dimension>{{"O"}, {"N", rows}}
                 : std::vector<Dimension>{{"N", rows}, {"O"}};
  FFF_ASSIGN_OR_RETURN(const tensor::Shape y,
                       Expect(tensors, convention.layout->y, y_wanted));
  problem.output_width = transposed ? y[0] : y[1];
  if (!convention.layout->bias.empty() &&
      tensors.Find(convention.layout->bias) != nullptr) {
    FFF_RETURN_IF_ERROR(
        Expect(tensors, convention.layout->bias, {{"N", rows}}).status());
    problem.has_bias = true;
  }
  FFF_RETURN_IF_ERROR(ReadTrees(QuotedTensor(tensors, convention.layout->x),
                                rows, trees, problem));
  FFF_RETURN_IF_ERROR(
      CheckBounds(tensors, convention.layout->x, rows, problem.input_width));
  FFF_RETURN_IF_ERROR(
      CheckBounds(tensors, convention.layout->y, rows, problem.output_width));
  return problem;
}

absl::StatusOr<graph::LeafProblem> LeafProblemOf(const TensorShapes& tensors,
                                                 const Convention& convention,
                                                 bool output_bias) {
  graph::LeafProblem problem;
  problem.tie = convention.tie;
  problem.activation =
      convention.activation.value_or(graph::Activation::kIdentity);
  problem.has_output_bias = output_bias;
  FFF_ASSIGN_OR_RETURN(const tensor::Shape w1,
                       Expect(tensors, "w1s", {{"leaves"}, {"I"}, {"l"}}));
  FFF_ASSIGN_OR_RETURN(problem.depth, DepthOf(tensors, w1[0]));
  problem.input_width = w1[1];
  problem.leaf_width = w1[2];
  const int64_t leaves = problem.leaves();
  FFF_RETURN_IF_ERROR(CheckNodes(tensors, problem));
  FFF_RETURN_IF_ERROR(
      Expect(tensors, "b1s", {{"leaves", leaves}, {"l", problem.leaf_width}})
          .status());
  FFF_ASSIGN_OR_RETURN(
      const tensor::Shape w2,
      Expect(tensors, "w2s",
             {{"leaves", leaves}, {"l", problem.leaf_width}, {"O"}}));
  problem.output_width = w2[2];
  if (output_bias) {
    FFF_RETURN_IF_ERROR(base::Annotate(
        Expect(tensors, "b2s",
               {{"leaves", leaves}, {"O", problem.output_width}})
            .status(),
        "leaf output bias (\"output_bias\": false serves without it)"));
  }
  FFF_RETURN_IF_ERROR(CheckBounds(tensors, "w1s", leaves * problem.leaf_width,
                                  problem.input_width));
  FFF_RETURN_IF_ERROR(CheckBounds(tensors, "w2s", leaves * problem.leaf_width,
                                  problem.output_width));
  return problem;
}

absl::StatusOr<int64_t> MasterLeafWidthOf(const TensorShapes& tensors,
                                          const graph::LeafProblem& problem) {
  FFF_ASSIGN_OR_RETURN(const tensor::Shape w1,
                       Expect(tensors, "magic_w1",
                              {{"1", 1}, {"I", problem.input_width}, {"m"}}));
  const int64_t width = w1[2];
  FFF_RETURN_IF_ERROR(
      Expect(tensors, "magic_b1", {{"1", 1}, {"m", width}}).status());
  FFF_RETURN_IF_ERROR(
      Expect(tensors, "magic_w2",
             {{"1", 1}, {"m", width}, {"O", problem.output_width}})
          .status());
  FFF_RETURN_IF_ERROR(
      Expect(tensors, "magic_b2", {{"1", 1}, {"O", problem.output_width}})
          .status());
  if (tensors.Find("k") == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, "k"), " is missing, wanted one number"));
  }
  return width;
}

}  // namespace fff::importer

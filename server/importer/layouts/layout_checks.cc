#include "server/importer/layouts/layout_checks.h"

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/fff_shape.h"

namespace fff::importer {
namespace {

absl::Status OneTree(std::optional<int64_t> trees) {
  if (trees.value_or(1) == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"trees\": found ", *trees, ", but it has one tree"));
}

// Tie and activation of a problem of one tree.
graph::PathProblem ProblemOf(const Convention& convention) {
  graph::PathProblem problem;
  problem.tie = convention.tie;
  problem.activation =
      convention.activation.value_or(graph::Activation::kIdentity);
  return problem;
}

// Whether `rows` are those of one tree of ways k at some depth.
bool IsFanoutTree(int64_t rows) {
  for (int64_t ways = 4; ways * ways <= rows; ++ways) {
    if (rows % ways != 0) continue;
    const int64_t groups = rows / ways;
    int64_t power = ways * ways;
    while ((power - 1) / 3 < groups) power *= ways;
    if ((power - 1) / 3 == groups) return true;
  }
  return false;
}

}  // namespace

absl::Status CheckPath(const TensorShapes& tensors,
                       const Convention& convention,
                       std::optional<int64_t> trees) {
  const Layout& layout = *convention.layout;
  if (layout.many_trees && !trees.has_value()) {
    const tensor::Shape* x = tensors.Find(layout.x);
    if (x != nullptr && x->size() == 2 && LevelsOf((*x)[0]) == 0) {
      const std::vector<Trees> fit = TreesThatFit((*x)[0]);
      if (!fit.empty()) trees = fit.front().trees;
    }
  }
  FFF_ASSIGN_OR_RETURN(const graph::PathProblem problem,
                       PathProblemOf(tensors, convention, trees));
  if (layout.bias.empty() || problem.has_bias) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(QuotedTensor(tensors, layout.bias), " is missing"));
}

absl::Status CheckLeaf(const TensorShapes& tensors,
                       const Convention& convention,
                       std::optional<int64_t> /*trees*/) {
  return LeafProblemOf(tensors, convention, convention.output_bias).status();
}

absl::Status CheckDenseRows(const TensorShapes& tensors,
                            const Convention& convention,
                            std::optional<int64_t> trees) {
  if (trees.has_value()) {
    return absl::InvalidArgumentError(
        "\"trees\": it has none, every row answers");
  }
  const Layout& layout = *convention.layout;
  FFF_ASSIGN_OR_RETURN(const tensor::Shape x,
                       Expect(tensors, layout.x, {{"N"}, {"I"}}));
  return Expect(tensors, layout.y, {{"N", x[0]}, {"O"}}).status();
}

absl::StatusOr<graph::PathProblem> LevelRowsOf(const TensorShapes& tensors,
                                               const Convention& convention) {
  const Layout& layout = *convention.layout;
  FFF_ASSIGN_OR_RETURN(const tensor::Shape x,
                       Expect(tensors, layout.x, {{"levels"}, {"I"}}));
  if (x[0] > graph::kLevelsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedTensor(tensors, layout.x), ": found ", x[0],
        " rows, one per level; wanted at most ", graph::kLevelsMax));
  }
  graph::PathProblem problem = ProblemOf(convention);
  problem.levels = static_cast<int>(x[0]);
  problem.input_width = x[1];
  FFF_ASSIGN_OR_RETURN(
      const tensor::Shape y,
      Expect(tensors, layout.y, {{"N", problem.nodes()}, {"O"}}));
  problem.output_width = y[1];
  return problem;
}

absl::Status CheckLevelRows(const TensorShapes& tensors,
                            const Convention& convention,
                            std::optional<int64_t> trees) {
  FFF_RETURN_IF_ERROR(OneTree(trees));
  return LevelRowsOf(tensors, convention).status();
}

absl::StatusOr<graph::PathProblem> FlatRowsOf(const TensorShapes& tensors,
                                              const Convention& convention) {
  const Layout& layout = *convention.layout;
  graph::PathProblem problem = ProblemOf(convention);
  FFF_ASSIGN_OR_RETURN(const tensor::Shape y,
                       Expect(tensors, layout.y, {{"N"}, {"O"}}));
  problem.output_width = y[1];
  problem.levels = LevelsOf(y[0]);
  if (problem.levels == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedTensor(tensors, layout.y), ": found ", y[0],
                     " node rows, wanted 2^levels - 1"));
  }
  FFF_ASSIGN_OR_RETURN(const tensor::Shape x,
                       Expect(tensors, layout.x, {{"N * I"}, {"1", 1}}));
  problem.input_width = x[0] / y[0];
  if (x[0] % y[0] != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuotedTensor(tensors, layout.x), ": found ", x[0],
                     " rows, wanted a multiple of the ", y[0], " rows of ",
                     QuotedTensor(tensors, layout.y)));
  }
  return problem;
}

absl::Status CheckFlatRows(const TensorShapes& tensors,
                           const Convention& convention,
                           std::optional<int64_t> trees) {
  FFF_RETURN_IF_ERROR(OneTree(trees));
  FFF_ASSIGN_OR_RETURN(const graph::PathProblem problem,
                       FlatRowsOf(tensors, convention));
  if (problem.input_width > 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "with an input width of 1 it is the same as \"ultrafastbert-bmm\"");
}

absl::Status CheckFanout(const TensorShapes& tensors,
                         const Convention& convention,
                         std::optional<int64_t> trees) {
  FFF_ASSIGN_OR_RETURN(const tensor::Shape x,
                       Expect(tensors, "linear_in.weight", {{"N"}, {"I"}}));
  const int64_t rows = x[0];
  // The smallest tree has 20 rows: 4 ways, depth 1.
  for (int64_t count = trees.value_or(1); count <= trees.value_or(rows / 20);
       ++count) {
    if (rows % count == 0 && IsFanoutTree(rows / count)) {
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat(QuotedTensor(tensors, "linear_in.weight"), ": ", rows,
                   " rows are not those of \"", convention.name, "\""));
}

absl::Status CheckSquareLeaves(const TensorShapes& tensors,
                               const Convention& /*convention*/,
                               std::optional<int64_t> /*trees*/) {
  FFF_ASSIGN_OR_RETURN(
      const tensor::Shape leaves,
      Expect(tensors, "leaf_weight", {{"leaves"}, {"I"}, {"O"}}));
  return Expect(tensors, "leaf_weight",
                {{"leaves", leaves[0]}, {"I", leaves[2]}, {"O", leaves[2]}})
      .status();
}

}  // namespace fff::importer

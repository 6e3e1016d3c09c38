#include "server/importer/fff_shape.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::importer {
namespace {

// One dimension as a message and a check want it: a letter, and the value it
// must have, or -1 when any positive value will do.
struct Dimension {
  absl::string_view letter;
  int64_t wanted = -1;
};

std::string ToString(absl::Span<const Dimension> dimensions) {
  return absl::StrCat(
      "[",
      absl::StrJoin(dimensions, ", ",
                    [](std::string* out, const Dimension& dimension) {
                      if (dimension.wanted >= 0) {
                        absl::StrAppend(out, dimension.wanted);
                      } else {
                        absl::StrAppend(out, dimension.letter);
                      }
                    }),
      "]");
}

std::string Quoted(const TensorShapes& tensors, absl::string_view name) {
  return absl::StrCat(
      "tensor \"", base::Printable(absl::StrCat(tensors.prefix, name)), "\"");
}

absl::StatusOr<tensor::Shape> Expect(const TensorShapes& tensors,
                                     absl::string_view name,
                                     absl::Span<const Dimension> wanted) {
  const tensor::Shape* shape = tensors.Find(name);
  if (shape == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(tensors, name), " is missing, wanted ", ToString(wanted)));
  }
  bool fits = shape->size() == wanted.size();
  for (size_t i = 0; fits && i < wanted.size(); ++i) {
    const int64_t found = (*shape)[i];
    fits = wanted[i].wanted >= 0 ? found == wanted[i].wanted
                                 : found >= 1 && found <= graph::kWidthMax;
  }
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(tensors, name), ": found shape ",
                     tensor::ToString(*shape), ", wanted ", ToString(wanted)));
  }
  return *shape;
}

// log2(value + 1) when value is 2^k - 1 for 1 <= k <= kLevelsMax, else 0.
int LevelsOf(int64_t nodes) {
  for (int levels = 1; levels <= graph::kLevelsMax; ++levels) {
    if (nodes == (int64_t{1} << levels) - 1) return levels;
  }
  return 0;
}

// "3 trees of 5 levels, 31 trees of 2 levels" for 93 rows. One level a tree
// always fits and means no tree at all, so it is not offered.
std::string TreesThatFit(int64_t rows) {
  std::vector<std::string> fits;
  for (int levels = graph::kLevelsMax; levels >= 2; --levels) {
    const int64_t nodes = (int64_t{1} << levels) - 1;
    if (rows % nodes == 0 && rows / nodes >= 1) {
      fits.push_back(
          absl::StrCat("trees=", rows / nodes, " (", levels, " levels each)"));
    }
  }
  return absl::StrJoin(fits, ", ");
}

// How many trees of how many levels `rows` node rows are.
absl::Status ReadTrees(const std::string& tensor_name, int64_t rows,
                       std::optional<int64_t> trees,
                       graph::PathProblem& problem) {
  problem.trees = trees.value_or(1);
  problem.levels =
      rows % problem.trees == 0 ? LevelsOf(rows / problem.trees) : 0;
  if (problem.levels > 0) return absl::OkStatus();
  const std::string fits = TreesThatFit(rows);
  return absl::InvalidArgumentError(absl::StrCat(
      tensor_name, ": found ", rows, " node rows, wanted ",
      trees.has_value() ? absl::StrCat(*trees, " * (2^levels - 1)")
                        : std::string("2^levels - 1 for one tree"),
      fits.empty() ? "; no number of trees fits, so this is not a tree of nodes"
                   : "; what fits: ",
      fits));
}

// The bounds that keep every index inside int64 and node ids inside int32.
absl::Status CheckBounds(const TensorShapes& tensors, absl::string_view name,
                         int64_t rows, int64_t width) {
  if (width > 0 && rows > tensor::kElementsMax / width) {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(tensors, name), ": ", rows, " x ", width,
        " elements are above the maximum of ", tensor::kElementsMax));
  }
  return absl::OkStatus();
}

// log2 of the number of leaves, or an error.
absl::StatusOr<int> DepthOf(const TensorShapes& tensors, int64_t leaves) {
  for (int depth = 0; depth < graph::kLevelsMax; ++depth) {
    if (leaves == int64_t{1} << depth) return depth;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      Quoted(tensors, "w1s"), ": found ", leaves,
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

const tensor::Shape* TensorShapes::Find(absl::string_view name) const {
  const auto found = shapes.find(name);
  return found == shapes.end() ? nullptr : &found->second;
}

TensorShapes UnderPrefix(const TensorShapes& tensors,
                         const std::string& prefix) {
  TensorShapes under;
  under.prefix = absl::StrCat(tensors.prefix, prefix);
  for (auto it = tensors.shapes.lower_bound(prefix);
       it != tensors.shapes.end() &&
       it->first.compare(0, prefix.size(), prefix) == 0;
       ++it) {
    under.shapes.emplace(it->first.substr(prefix.size()), it->second);
  }
  return under;
}

absl::StatusOr<graph::PathProblem> PathProblemOf(const TensorShapes& tensors,
                                                 const Convention& convention,
                                                 std::optional<int64_t> trees) {
  graph::PathProblem problem;
  problem.tie = convention.tie;
  problem.activation = convention.activation;
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
  FFF_RETURN_IF_ERROR(
      ReadTrees(Quoted(tensors, convention.layout->x), rows, trees, problem));
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
  problem.activation = convention.activation;
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
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(tensors, "k"), " is missing, wanted one number"));
  }
  return width;
}

}  // namespace fff::importer

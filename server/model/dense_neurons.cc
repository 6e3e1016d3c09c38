#include "server/model/dense_neurons.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/matrix.h"

namespace fff::model {
namespace {

using engine::Activation;
using engine::DenseWeights;

LoadedLayer Linear(DenseWeights weights) {
  return LoadedLinear{std::make_shared<const DenseWeights>(std::move(weights))};
}

std::vector<LoadedLayer> PathLayers(const LoadedPath& path) {
  const engine::PathProblem& problem = path.problem;
  const int64_t rows = problem.trees * problem.nodes();
  DenseWeights hidden;
  hidden.problem = {problem.input_width, rows, problem.activation,
                    problem.has_bias};
  hidden.w = path.x;
  hidden.bias = path.bias;
  DenseWeights output;
  output.problem = {rows, problem.output_width, Activation::kIdentity, false};
  output.w = path.y_transposed
                 ? path.y
                 : Transposed(path.y.span(), rows, problem.output_width);
  std::vector<LoadedLayer> layers;
  layers.push_back(Linear(std::move(hidden)));
  layers.push_back(Linear(std::move(output)));
  return layers;
}

// [leaves*l + m, I]: every leaf's w1 (I, l) transposed, one below the other,
// then the master leaf's.
DenseWeights LeafHidden(const engine::LeafWeights& leaf,
                        const MasterLeafWeights* master) {
  const engine::LeafProblem& problem = leaf.problem;
  const int64_t in = problem.input_width;
  const int64_t leaf_rows = problem.leaves() * problem.leaf_width;
  const int64_t master_rows =
      master == nullptr ? 0 : master->hidden->problem.output_width;
  const int64_t rows = leaf_rows + master_rows;
  tensor::FloatBuffer w(rows * in);
  const int64_t a_leaf = in * problem.leaf_width;
  for (int64_t n = 0; n < problem.leaves(); ++n) {
    TransposeInto(leaf.w1.span().subspan(static_cast<size_t>(n * a_leaf),
                                         static_cast<size_t>(a_leaf)),
                  in, problem.leaf_width, w.data() + n * a_leaf, in);
  }
  tensor::FloatBuffer bias(rows);
  std::copy(leaf.b1.span().begin(), leaf.b1.span().end(), bias.data());
  if (master != nullptr) {
    std::copy(master->hidden->w.span().begin(), master->hidden->w.span().end(),
              w.data() + leaf_rows * in);
    std::copy(master->hidden->bias.span().begin(),
              master->hidden->bias.span().end(), bias.data() + leaf_rows);
  }
  DenseWeights hidden;
  hidden.problem = {in, rows, problem.activation, true};
  hidden.w = std::move(w).Freeze();
  hidden.bias = std::move(bias).Freeze();
  return hidden;
}

// [O, leaves*l + m]: w2 of all leaves is (leaves*l, O) as it stands.
DenseWeights LeafOutput(const engine::LeafWeights& leaf,
                        const MasterLeafWeights* master) {
  const engine::LeafProblem& problem = leaf.problem;
  const int64_t out = problem.output_width;
  const int64_t leaf_columns = problem.leaves() * problem.leaf_width;
  const int64_t master_columns =
      master == nullptr ? 0 : master->output->problem.input_width;
  const int64_t columns = leaf_columns + master_columns;
  tensor::FloatBuffer w(out * columns);
  TransposeInto(leaf.w2.span(), leaf_columns, out, w.data(), columns);
  for (int64_t o = 0; o < out; ++o) {
    if (master == nullptr) break;
    std::copy_n(master->output->w.data() + o * master_columns, master_columns,
                w.data() + o * columns + leaf_columns);
  }
  DenseWeights output;
  output.problem = {columns, out, Activation::kIdentity,
                    problem.has_output_bias};
  output.w = std::move(w).Freeze();
  if (problem.has_output_bias) {
    tensor::FloatBuffer bias(out);
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (int64_t n = 0; n < problem.leaves(); ++n)
        sum += leaf.b2[n * out + o];
      bias.data()[o] =
          static_cast<float>(sum / static_cast<double>(problem.leaves()));
    }
    output.bias = std::move(bias).Freeze();
  }
  return output;
}

}  // namespace

std::vector<LoadedLayer> DenseLayersOf(const LoadedFff& fff) {
  if (const auto* path = std::get_if<LoadedPath>(&fff.weights)) {
    return PathLayers(*path);
  }
  const auto& leaf = std::get<LoadedLeaf>(fff.weights);
  std::vector<LoadedLayer> layers;
  layers.push_back(Linear(LeafHidden(*leaf.weights, leaf.master.get())));
  layers.push_back(Linear(LeafOutput(*leaf.weights, leaf.master.get())));
  return layers;
}

std::string NeuronsOf(const LoadedFff& fff) {
  if (const auto* path = std::get_if<LoadedPath>(&fff.weights)) {
    const engine::PathProblem& problem = path->problem;
    return problem.trees == 1 ? absl::StrCat(problem.nodes(), " nodes")
                              : absl::StrCat(problem.trees, " trees of ",
                                             problem.nodes(), " nodes");
  }
  const auto& leaf = std::get<LoadedLeaf>(fff.weights);
  const engine::LeafProblem& problem = leaf.weights->problem;
  std::string text = absl::StrCat(problem.leaves(), " leaves of ",
                                  problem.leaf_width, " neurons");
  if (leaf.master != nullptr) {
    absl::StrAppend(&text, " and a master leaf of ",
                    leaf.master->hidden->problem.output_width);
  }
  return text;
}

}  // namespace fff::model

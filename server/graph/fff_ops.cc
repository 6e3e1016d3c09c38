#include "server/graph/fff_ops.h"

#include "absl/strings/str_cat.h"

namespace fff::graph {
namespace {

std::string Counted(int64_t count, absl::string_view one,
                    absl::string_view many) {
  return absl::StrCat(count, " ", count == 1 ? one : many);
}

absl::string_view TieClause(Tie tie) {
  return tie == Tie::kRight ? ", right when z >= 0" : ", right when z > 0";
}

}  // namespace

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

}  // namespace fff::graph

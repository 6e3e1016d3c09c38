#include "server/model/fff_leaf_layer.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::model {

absl::StatusOr<std::unique_ptr<const FffLeafLayer>> FffLeafLayer::Make(
    std::string convention, std::shared_ptr<const engine::LeafWeights> weights,
    const engine::PlanOptions& options) {
  FFF_ASSIGN_OR_RETURN(engine::KernelPlan plan,
                       engine::PlanLeaf(weights, options));
  return absl::WrapUnique<const FffLeafLayer>(new FffLeafLayer(
      std::move(convention), std::move(weights), std::move(plan)));
}

FffLeafLayer::FffLeafLayer(std::string convention,
                           std::shared_ptr<const engine::LeafWeights> weights,
                           engine::KernelPlan plan)
    : convention_(std::move(convention)),
      weights_(std::move(weights)),
      plan_(std::move(plan)) {}

std::string FffLeafLayer::Describe() const {
  const engine::LeafProblem& problem = weights_->problem;
  return absl::StrCat(convention_, ": ", problem.input_width, " -> (",
                      problem.leaf_width, ") -> ", problem.output_width,
                      ", depth ", problem.depth, " (", problem.leaves(),
                      problem.leaves() == 1 ? " leaf), " : " leaves), ",
                      engine::Name(problem.activation), ", right when z ",
                      problem.tie == engine::Tie::kRight ? ">= 0" : "> 0",
                      problem.has_output_bias ? "" : ", no leaf output bias",
                      engine::PrecisionText(problem.precision));
}

RoutingShape FffLeafLayer::routing() const {
  const int depth = weights_->problem.depth;
  return {RoutingShape::Family::kLeaf, 1, depth, depth};
}

NeuronCount FffLeafLayer::neurons() const {
  const engine::LeafProblem& problem = weights_->problem;
  return {problem.leaves() * problem.leaf_width,
          problem.depth + problem.leaf_width, problem.activation};
}

int64_t FffLeafLayer::weights_bytes() const {
  const int64_t floats = weights_->node_weights.size() +
                         weights_->node_biases.size() + weights_->w1.size() +
                         weights_->b1.size() + weights_->w2.size() +
                         weights_->b2.size();
  return floats * static_cast<int64_t>(sizeof(float)) +
         weights_->reduced_node_weights.bytes() + weights_->reduced_w1.bytes() +
         weights_->reduced_w2.bytes() + plan_.packed_bytes();
}

LayerCost FffLeafLayer::cost() const {
  const engine::LeafProblem& problem = weights_->problem;
  const double depth = problem.depth;
  const auto in = static_cast<double>(problem.input_width);
  const auto leaf = static_cast<double>(problem.leaf_width);
  const auto out = static_cast<double>(problem.output_width);
  const double leaf_and_nodes = depth * in + in * leaf + leaf * out;
  LayerCost cost;
  cost.flops = depth * 2 * in + 2 * in * leaf + 2 * leaf * out;
  cost.weight_bytes =
      static_cast<double>(engine::BytesAWeight(problem.precision)) *
          leaf_and_nodes +
      sizeof(float) * (depth + leaf + (problem.has_output_bias ? out : 0));
  return cost;
}

void FffLeafLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                       const engine::RouteSink& routes,
                       engine::ExecutionContext& context) const {
  plan_.Run(x, y, routes, context);
}

}  // namespace fff::model

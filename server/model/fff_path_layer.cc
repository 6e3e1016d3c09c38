#include "server/model/fff_path_layer.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::model {

absl::StatusOr<std::unique_ptr<const Layer>> FffPathLayer::Make(
    std::string convention, std::shared_ptr<const engine::PathWeights> weights,
    const engine::PlanOptions& options) {
  FFF_ASSIGN_OR_RETURN(engine::KernelPlan plan,
                       engine::PlanPath(weights, options));
  return absl::WrapUnique<const Layer>(new FffPathLayer(
      std::move(convention), std::move(weights), std::move(plan)));
}

FffPathLayer::FffPathLayer(std::string convention,
                           std::shared_ptr<const engine::PathWeights> weights,
                           engine::KernelPlan plan)
    : convention_(std::move(convention)),
      weights_(std::move(weights)),
      plan_(std::move(plan)) {}

std::string FffPathLayer::Describe() const {
  const engine::PathProblem& problem = weights_->problem;
  return absl::StrCat(
      convention_, ": ", problem.input_width, " -> ", problem.output_width,
      ", ", problem.trees, problem.trees == 1 ? " tree of " : " trees of ",
      problem.levels, problem.levels == 1 ? " level (" : " levels (",
      problem.nodes(), problem.nodes() == 1 ? " node), " : " nodes), ",
      engine::Name(problem.activation), ", right when z ",
      problem.tie == engine::Tie::kRight ? ">= 0" : "> 0",
      engine::PrecisionText(problem.precision));
}

RoutingShape FffPathLayer::routing() const {
  const engine::PathProblem& problem = weights_->problem;
  return {RoutingShape::Family::kPath, problem.trees, problem.levels,
          problem.levels - 1};
}

NeuronCount FffPathLayer::neurons() const {
  const engine::PathProblem& problem = weights_->problem;
  return {problem.trees * problem.nodes(), problem.trees * problem.levels,
          problem.activation};
}

int64_t FffPathLayer::weights_bytes() const {
  const int64_t floats =
      weights_->x.size() + weights_->bias.size() + weights_->y.size();
  return floats * static_cast<int64_t>(sizeof(float)) +
         weights_->reduced_x.bytes() + weights_->reduced_y.bytes() +
         plan_.packed_bytes();
}

LayerCost FffPathLayer::cost() const {
  const engine::PathProblem& problem = weights_->problem;
  const double visited =
      static_cast<double>(problem.levels) * static_cast<double>(problem.trees);
  const double bias = problem.has_bias ? sizeof(float) : 0;
  const double products =
      static_cast<double>(problem.input_width + problem.output_width);
  return {visited * 2 * products,
          visited * (products * static_cast<double>(
                                    engine::BytesAWeight(problem.precision)) +
                     bias)};
}

void FffPathLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                       const engine::RouteSink& routes,
                       engine::ExecutionContext& context) const {
  plan_.Run(x, y, routes, context);
}

}  // namespace fff::model

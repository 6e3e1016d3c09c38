#include "server/model/linear_layer.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::model {

absl::StatusOr<std::unique_ptr<const LinearLayer>> LinearLayer::Make(
    std::shared_ptr<const engine::DenseWeights> weights,
    const engine::PlanOptions& options) {
  FFF_ASSIGN_OR_RETURN(engine::KernelPlan plan,
                       engine::PlanDense(weights, options));
  return absl::WrapUnique<const LinearLayer>(
      new LinearLayer(std::move(weights), std::move(plan)));
}

LinearLayer::LinearLayer(std::shared_ptr<const engine::DenseWeights> weights,
                         engine::KernelPlan plan)
    : weights_(std::move(weights)), plan_(std::move(plan)) {}

std::string LinearLayer::Describe() const {
  const engine::DenseProblem& problem = weights_->problem;
  return absl::StrCat(
      problem.input_width, " -> ", problem.output_width,
      problem.has_bias ? "" : " without bias",
      problem.activation == engine::Activation::kIdentity ? "" : ", ",
      problem.activation == engine::Activation::kIdentity
          ? absl::string_view()
          : engine::Name(problem.activation));
}

int64_t LinearLayer::weights_bytes() const {
  const int64_t floats = weights_->w.size() + weights_->bias.size();
  return floats * static_cast<int64_t>(sizeof(float)) + plan_.packed_bytes();
}

LayerCost LinearLayer::cost() const {
  const engine::DenseProblem& problem = weights_->problem;
  const double products = static_cast<double>(problem.input_width) *
                          static_cast<double>(problem.output_width);
  const double bias =
      problem.has_bias ? static_cast<double>(problem.output_width) : 0;
  return {2 * products, (products + bias) * sizeof(float)};
}

void LinearLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                      const engine::RouteSink& routes,
                      engine::ExecutionContext& context) const {
  plan_.Run(x, y, routes, context);
}

}  // namespace fff::model

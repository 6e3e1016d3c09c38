#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/engine/kernel_plan.h"
#include "server/engine/weights.h"
#include "server/model/layer.h"

namespace fff::model {

// y = act(x.W^T + b), weights as torch.nn.Linear holds them.
class LinearLayer : public Layer {
 public:
  // Plans kernels, so it allocates. Errors are those of engine::PlanDense.
  static absl::StatusOr<std::unique_ptr<const LinearLayer>> Make(
      std::shared_ptr<const engine::DenseWeights> weights,
      const engine::PlanOptions& options);

  std::string type() const override { return "linear"; }
  std::string Describe() const override;
  int64_t input_width() const override { return weights_->problem.input_width; }
  int64_t output_width() const override {
    return weights_->problem.output_width;
  }
  int64_t weights_bytes() const override;
  LayerCost cost() const override;
  const engine::KernelPlan* plan() const override { return &plan_; }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override;

 private:
  LinearLayer(std::shared_ptr<const engine::DenseWeights> weights,
              engine::KernelPlan plan);

  std::shared_ptr<const engine::DenseWeights> weights_;
  engine::KernelPlan plan_;
};

}  // namespace fff::model

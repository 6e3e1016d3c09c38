#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/engine/kernel_plan.h"
#include "server/engine/weights.h"
#include "server/model/layer.h"

namespace fff::model {

// An FFF of the path family: every visited node adds to the output
// (engine/problem.h has the formula). Routing has `levels` margins a tree.
class FffPathLayer : public Layer {
 public:
  // Plans kernels, so it allocates. `convention` is for people only. Errors
  // are those of engine::PlanPath.
  static absl::StatusOr<std::unique_ptr<const Layer>> Make(
      std::string convention,
      std::shared_ptr<const engine::PathWeights> weights,
      const engine::PlanOptions& options);

  std::string type() const override { return "fff"; }
  std::string Describe() const override;
  int64_t input_width() const override { return weights_->problem.input_width; }
  int64_t output_width() const override {
    return weights_->problem.output_width;
  }
  RoutingShape routing() const override;
  NeuronCount neurons() const override;
  int64_t weights_bytes() const override;
  LayerCost cost() const override;
  const engine::KernelPlan* plan() const override { return &plan_; }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override;

 private:
  FffPathLayer(std::string convention,
               std::shared_ptr<const engine::PathWeights> weights,
               engine::KernelPlan plan);

  std::string convention_;
  std::shared_ptr<const engine::PathWeights> weights_;
  engine::KernelPlan plan_;
};

}  // namespace fff::model

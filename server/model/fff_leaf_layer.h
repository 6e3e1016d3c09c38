#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/engine/kernel_plan.h"
#include "server/engine/weights.h"
#include "server/model/layer.h"

namespace fff::model {

// An FFF of the leaf family: inner nodes route, one leaf answers
// (engine/problem.h has the formula). Routing has `depth` margins and one tree.
class FffLeafLayer : public Layer {
 public:
  // Plans kernels, so it allocates. `convention` is for people only. Errors
  // are those of engine::PlanLeaf.
  static absl::StatusOr<std::unique_ptr<const FffLeafLayer>> Make(
      std::string convention,
      std::shared_ptr<const engine::LeafWeights> weights,
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
  FffLeafLayer(std::string convention,
               std::shared_ptr<const engine::LeafWeights> weights,
               engine::KernelPlan plan);

  std::string convention_;
  std::shared_ptr<const engine::LeafWeights> weights_;
  engine::KernelPlan plan_;
};

}  // namespace fff::model

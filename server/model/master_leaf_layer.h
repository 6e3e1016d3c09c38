#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/fff_leaf_layer.h"
#include "server/model/layer.h"
#include "server/model/linear_layer.h"

namespace fff::model {

// The dense leaf that answers for every row beside the FFF.
struct MasterLeafWeights {
  std::shared_ptr<const engine::DenseWeights> hidden;  // I -> m, ReLU
  std::shared_ptr<const engine::DenseWeights> output;  // m -> O
  float fff_share = 1;                                 // s = sigmoid(k)
};

// y = s*FFF(x) + (1-s)*(relu(x.magic_w1 + magic_b1).magic_w2 + magic_b2),
// arXiv 2405.16836. Routes are the FFF's. Uses kLayerSlots.
class MasterLeafLayer : public Layer {
 public:
  static absl::StatusOr<std::unique_ptr<const Layer>> Make(
      std::string convention,
      std::shared_ptr<const engine::LeafWeights> leaf_weights,
      const MasterLeafWeights& master, const engine::PlanOptions& options);

  std::string type() const override { return "fff"; }
  std::string Describe() const override;
  int64_t input_width() const override { return leaf_->input_width(); }
  int64_t output_width() const override { return leaf_->output_width(); }
  RoutingShape routing() const override { return leaf_->routing(); }
  NeuronCount neurons() const override;
  int64_t weights_bytes() const override;
  LayerCost cost() const override;
  // The plan of the tree; the master leaf's two dense plans are not shown.
  const engine::KernelPlan* plan() const override { return leaf_->plan(); }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override;

 private:
  MasterLeafLayer(std::unique_ptr<const FffLeafLayer> leaf,
                  std::unique_ptr<const LinearLayer> hidden,
                  std::unique_ptr<const LinearLayer> output, float fff_share);

  std::unique_ptr<const FffLeafLayer> leaf_;
  std::unique_ptr<const LinearLayer> hidden_;
  std::unique_ptr<const LinearLayer> output_;
  float fff_share_;
};

}  // namespace fff::model

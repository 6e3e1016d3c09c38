#include "server/model/master_leaf_layer.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"

namespace fff::model {
namespace {

// Elements of the blend that a thread takes at least.
constexpr int64_t kFloatsGrain = 16384;

}  // namespace

absl::StatusOr<std::unique_ptr<const Layer>> MasterLeafLayer::Make(
    std::string convention,
    std::shared_ptr<const engine::LeafWeights> leaf_weights,
    const MasterLeafWeights& master, const engine::PlanOptions& options) {
  FFF_ASSIGN_OR_RETURN(auto leaf,
                       FffLeafLayer::Make(std::move(convention),
                                          std::move(leaf_weights), options));
  FFF_ASSIGN_OR_RETURN(auto hidden, LinearLayer::Make(master.hidden, options));
  FFF_ASSIGN_OR_RETURN(auto output, LinearLayer::Make(master.output, options));
  return absl::WrapUnique<const Layer>(new MasterLeafLayer(
      std::move(leaf), std::move(hidden), std::move(output), master.fff_share));
}

MasterLeafLayer::MasterLeafLayer(std::unique_ptr<const FffLeafLayer> leaf,
                                 std::unique_ptr<const LinearLayer> hidden,
                                 std::unique_ptr<const LinearLayer> output,
                                 float fff_share)
    : leaf_(std::move(leaf)),
      hidden_(std::move(hidden)),
      output_(std::move(output)),
      fff_share_(fff_share) {}

std::string MasterLeafLayer::Describe() const {
  return absl::StrCat(leaf_->Describe(), "; master leaf of width ",
                      hidden_->output_width(), ", relu, weighs ",
                      absl::StrFormat("%.3f", 1 - fff_share_));
}

NeuronCount MasterLeafLayer::neurons() const {
  NeuronCount count = leaf_->neurons();
  count.all += hidden_->output_width();
  count.used += hidden_->output_width();
  return count;
}

int64_t MasterLeafLayer::weights_bytes() const {
  return leaf_->weights_bytes() + hidden_->weights_bytes() +
         output_->weights_bytes();
}

LayerCost MasterLeafLayer::cost() const {
  const auto blend = static_cast<double>(3 * output_width());
  return {leaf_->cost().flops + hidden_->cost().flops + output_->cost().flops +
              blend,
          leaf_->cost().weight_bytes + hidden_->cost().weight_bytes +
              output_->cost().weight_bytes};
}

void MasterLeafLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                          const engine::RouteSink& routes,
                          engine::ExecutionContext& context) const {
  leaf_->Run(x, y, routes, context);
  engine::Workspace& workspace = context.workspace(0);
  const tensor::MutableRows hidden = {
      workspace.Floats(kLayerSlots[0], x.rows * hidden_->output_width()),
      x.rows, hidden_->output_width()};
  hidden_->Run(x, hidden, {}, context);
  const tensor::MutableRows master = {
      workspace.Floats(kLayerSlots[1], x.rows * output_width()), x.rows,
      output_width()};
  output_->Run({hidden.data, hidden.rows, hidden.width}, master, {}, context);
  const float master_share = 1 - fff_share_;
  context.ParallelFor(x.rows * output_width(), kFloatsGrain,
                      [&](int64_t begin, int64_t end, int /*thread*/) {
                        for (int64_t i = begin; i < end; ++i) {
                          y.data[i] = fff_share_ * y.data[i] +
                                      master_share * master.data[i];
                        }
                      });
}

}  // namespace fff::model

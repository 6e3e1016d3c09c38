#include "server/benchmark/baselines.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/benchmark/random.h"
#include "server/engine/weights.h"
#include "server/model/linear_layer.h"

namespace fff::benchmark {
namespace {

// A layer of the FFF model, in a second model.
class BorrowedLayer : public model::Layer {
 public:
  explicit BorrowedLayer(const model::Layer& layer) : layer_(layer) {}

  std::string type() const override { return layer_.type(); }
  std::string Describe() const override { return layer_.Describe(); }
  int64_t input_width() const override { return layer_.input_width(); }
  int64_t output_width() const override { return layer_.output_width(); }
  int64_t weights_bytes() const override { return 0; }  // not its own
  model::LayerCost cost() const override { return layer_.cost(); }
  bool is_identity() const override { return layer_.is_identity(); }
  const engine::KernelPlan* plan() const override { return layer_.plan(); }
  void Run(tensor::ConstRows x, tensor::MutableRows y,
           const engine::RouteSink& routes,
           engine::ExecutionContext& context) const override {
    layer_.Run(x, y, routes, context);
  }

 private:
  const model::Layer& layer_;
};

int64_t NeuronsOf(const model::Layer& layer, BaselineKind kind) {
  return kind == BaselineKind::kNeurons ? layer.neurons().all
                                        : layer.neurons().used;
}

// fp32 bytes of the dense layers that stand for those that route.
double WeightBytes(const model::Model& fff, BaselineKind kind) {
  double bytes = 0;
  for (const auto& layer : fff.layers()) {
    bytes += 4.0 * static_cast<double>(NeuronsOf(*layer, kind)) *
             static_cast<double>(layer->input_width() + layer->output_width());
  }
  return bytes;
}

absl::StatusOr<std::unique_ptr<const model::Layer>> RandomLinear(
    engine::DenseProblem problem, Random& random) {
  auto weights = std::make_shared<engine::DenseWeights>();
  problem.has_bias = true;
  weights->problem = problem;
  const float limit = std::sqrt(3.0F / static_cast<float>(problem.input_width));
  tensor::FloatBuffer w(problem.input_width * problem.output_width);
  FillUniform(random, limit, w.span());
  weights->w = std::move(w).Freeze();
  tensor::FloatBuffer bias(problem.output_width);
  FillUniform(random, limit, bias.span());
  weights->bias = std::move(bias).Freeze();
  return model::LinearLayer::Make(std::move(weights), {});
}

absl::StatusOr<Opponent> Build(const model::Model& fff, BaselineKind kind,
                               uint64_t seed) {
  Random random(seed);
  std::vector<std::unique_ptr<const model::Layer>> layers;
  std::string widths;
  for (const auto& layer : fff.layers()) {
    const int64_t width = NeuronsOf(*layer, kind);
    if (width == 0) {
      layers.push_back(std::make_unique<BorrowedLayer>(*layer));
      continue;
    }
    engine::DenseProblem up = {layer->input_width(), width,
                               layer->neurons().activation};
    engine::DenseProblem down = {width, layer->output_width()};
    for (const engine::DenseProblem& problem : {up, down}) {
      FFF_ASSIGN_OR_RETURN(auto linear, RandomLinear(problem, random));
      layers.push_back(std::move(linear));
    }
    absl::StrAppend(&widths, widths.empty() ? "" : " + ", width);
  }
  Opponent opponent;
  opponent.kind = kind;
  opponent.description = absl::StrCat(
      kind == BaselineKind::kNeurons ? "same neurons: all "
                                     : "same inference "
                                       "width: ",
      widths, kind == BaselineKind::kNeurons ? " evaluated" : " neurons",
      ", random weights");
  opponent.model = std::make_shared<model::Model>(fff.input(), fff.output(),
                                                  std::move(layers));
  return opponent;
}

void LeaveOut(absl::string_view reason, Baselines& baselines) {
  absl::StrAppend(&baselines.left_out, baselines.left_out.empty() ? "" : "; ",
                  reason);
}

}  // namespace

absl::string_view Name(BaselineKind kind) {
  switch (kind) {
    case BaselineKind::kNeurons:
      return "neurons";
    case BaselineKind::kInferenceWidth:
      return "inference_width";
    case BaselineKind::kTrained:
      return "trained";
    case BaselineKind::kChosen:
      return "chosen";
  }
  return "unknown";
}

absl::StatusOr<Baselines> BuildBaselines(const model::Model& fff,
                                         BaselineKind primary, uint64_t seed,
                                         int64_t weights_bytes_max) {
  Baselines baselines;
  if (WeightBytes(fff, BaselineKind::kNeurons) == 0) {
    LeaveOut("the model has no FFF layer", baselines);
    return baselines;
  }
  if (fff.device_copy() != nullptr) {
    LeaveOut("the model runs on a device, other baselines would not",
             baselines);
    return baselines;
  }
  for (const BaselineKind kind :
       {BaselineKind::kNeurons, BaselineKind::kInferenceWidth}) {
    if (kind == primary) continue;
    const double bytes = WeightBytes(fff, kind);
    if (bytes > static_cast<double>(weights_bytes_max)) {
      LeaveOut(absl::StrFormat("%s: its weights would take %.3g MB, at most "
                               "%.3g MB are allowed",
                               Name(kind), bytes / 1e6,
                               static_cast<double>(weights_bytes_max) / 1e6),
               baselines);
      continue;
    }
    FFF_ASSIGN_OR_RETURN(Opponent opponent, Build(fff, kind, seed + 2));
    baselines.opponents.push_back(std::move(opponent));
  }
  return baselines;
}

}  // namespace fff::benchmark

#include "server/benchmark/baselines.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/status_macros.h"
#include "server/graph/graph.h"
#include "server/model/builder.h"
#include "server/tensor/random.h"

namespace fff::benchmark {
namespace {

int64_t NeuronsOf(const graph::NeuronCount& neurons, BaselineKind kind) {
  return kind == BaselineKind::kNeurons ? neurons.all : neurons.used;
}

// fp32 bytes of the dense layers that stand for those that route.
double WeightBytes(const model::Model& fff, BaselineKind kind) {
  double bytes = 0;
  for (const model::LayerFacts& layer : fff.layers()) {
    bytes += 4.0 * static_cast<double>(NeuronsOf(layer.neurons, kind)) *
             static_cast<double>(layer.input_width + layer.output_width) /
             static_cast<double>(layer.routing.tokens);
  }
  return bytes;
}

graph::Op RandomLinear(graph::DenseProblem problem, tensor::Random& random) {
  auto weights = std::make_shared<graph::DenseWeights>();
  problem.has_bias = true;
  weights->problem = problem;
  const float limit = std::sqrt(3.0F / static_cast<float>(problem.input_width));
  tensor::FloatBuffer w(problem.input_width * problem.output_width);
  tensor::FillUniform(random, limit, w.span());
  weights->w = std::move(w).Freeze();
  tensor::FloatBuffer bias(problem.output_width);
  tensor::FillUniform(random, limit, bias.span());
  weights->bias = std::move(bias).Freeze();
  return graph::Linear{{std::move(weights)}};
}

// `width_of` says the neurons for each layer that routes; the network, and
// these widths for its description.
struct Widened {
  std::shared_ptr<const model::Model> model;
  std::string widths;
};

template <class WidthOf>
absl::StatusOr<Widened> Widen(const model::Model& fff, const WidthOf& width_of,
                              uint64_t seed) {
  tensor::Random random(seed);
  Widened widened;
  std::string& widths = widened.widths;
  // A layer that routes becomes two products where its node that routes stands;
  // other nodes of the layer pass by.
  const auto rewrite =
      [&](const graph::Node& node) -> absl::StatusOr<std::vector<graph::Op>> {
    const model::LayerFacts& layer = fff.layers()[node.layer];
    const int64_t width = layer.neurons.all > 0 ? width_of(layer) : 0;
    if (width == 0) return std::vector<graph::Op>{node.op};
    if (!graph::Routes(node.op)) return std::vector<graph::Op>();
    absl::StrAppend(&widths, widths.empty() ? "" : " + ", width);
    const int64_t in = layer.input_width / node.tokens;
    const int64_t out = layer.output_width / node.tokens;
    return std::vector<graph::Op>{
        RandomLinear({in, width, layer.neurons.activation}, random),
        RandomLinear({width, out}, random)};
  };
  FFF_ASSIGN_OR_RETURN(const graph::Graph whole, fff.WholeGraph());
  FFF_ASSIGN_OR_RETURN(const graph::Graph dense,
                       graph::Rewrite(whole, rewrite));
  FFF_ASSIGN_OR_RETURN(widened.model, model::BuildGraph(dense, {}));
  return widened;
}

absl::StatusOr<Opponent> Build(const model::Model& fff, BaselineKind kind,
                               uint64_t seed) {
  FFF_ASSIGN_OR_RETURN(Widened widened,
                       Widen(
                           fff,
                           [kind](const model::LayerFacts& layer) {
                             return NeuronsOf(layer.neurons, kind);
                           },
                           seed));
  Opponent opponent;
  opponent.kind = kind;
  opponent.model = std::move(widened.model);
  opponent.description =
      absl::StrCat(kind == BaselineKind::kNeurons ? "same neurons: all "
                                                  : "same inference "
                                                    "width: ",
                   widened.widths,
                   kind == BaselineKind::kNeurons ? " evaluated" : " neurons",
                   ", random weights");
  return opponent;
}

// The first `out` of `in` columns, zeros where there are fewer.
graph::Op FirstColumns(int64_t in, int64_t out) {
  auto weights = std::make_shared<graph::RearrangeWeights>();
  weights->problem = {in, out, {out}, true, false, "first columns"};
  for (int64_t i = 0; i < out; ++i) {
    weights->index.push_back(i < in ? static_cast<int32_t>(i) : -1);
  }
  return graph::Rearrange{{std::move(weights)}};
}

// Every layer that routes passes its input on, cut or filled up to its output's
// width. Nothing where no op is left.
absl::StatusOr<std::optional<Opponent>> BuildWithout(const model::Model& fff) {
  int layers = 0;
  const auto rewrite =
      [&](const graph::Node& node) -> absl::StatusOr<std::vector<graph::Op>> {
    const model::LayerFacts& layer = fff.layers()[node.layer];
    if (layer.routing.trees == 0) return std::vector<graph::Op>{node.op};
    if (!graph::Routes(node.op)) return std::vector<graph::Op>();
    ++layers;
    const int64_t in = layer.input_width / node.tokens;
    const int64_t out = layer.output_width / node.tokens;
    if (in == out) return std::vector<graph::Op>();
    return std::vector<graph::Op>{FirstColumns(in, out)};
  };
  FFF_ASSIGN_OR_RETURN(const graph::Graph whole, fff.WholeGraph());
  FFF_ASSIGN_OR_RETURN(const graph::Graph rest, graph::Rewrite(whole, rewrite));
  const auto cut = [](const graph::Node& node) {
    return std::holds_alternative<graph::Rearrange>(node.op);
  };
  if (std::all_of(rest.nodes().begin(), rest.nodes().end(), cut)) {
    return std::nullopt;
  }
  Opponent opponent;
  opponent.kind = BaselineKind::kWithoutFeedforward;
  opponent.description =
      absl::StrCat("the network without its ", layers,
                   layers == 1 ? " FFF layer" : " FFF layers");
  FFF_ASSIGN_OR_RETURN(opponent.model, model::BuildGraph(rest, {}));
  return std::make_optional(std::move(opponent));
}

void LeaveOut(absl::string_view reason, Baselines& baselines) {
  absl::StrAppend(&baselines.left_out, baselines.left_out.empty() ? "" : "; ",
                  reason);
}

}  // namespace

absl::StatusOr<Opponent> BuildOfWidth(const model::Model& fff, int64_t width,
                                      uint64_t seed) {
  FFF_ASSIGN_OR_RETURN(
      Widened widened,
      Widen(
          fff, [width](const model::LayerFacts&) { return width; }, seed));
  return Opponent{BaselineKind::kChosen,
                  absl::StrCat("the network with dense feedforward layers of ",
                               width, " neurons, random weights"),
                  std::move(widened.model)};
}

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
    case BaselineKind::kWithoutFeedforward:
      return "without_feedforward";
    case BaselineKind::kOtherVersion:
      return "other_version";
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
  FFF_ASSIGN_OR_RETURN(std::optional<Opponent> without, BuildWithout(fff));
  if (without.has_value()) {
    baselines.opponents.push_back(*std::move(without));
  }
  return baselines;
}

}  // namespace fff::benchmark

#include "server/graph/row_ops.h"

#include "absl/strings/str_cat.h"

namespace fff::graph {
namespace {

// Mean; variance; normalise; scale; shift.
constexpr double kLayerNormStepsPerElement = 7;
constexpr double kBlendStepsPerElement = 3;
// Maximum, exponential, sum and product.
constexpr double kSoftmaxStepsPerElement = 4;

}  // namespace

std::string ActivationProblem::ToString() const {
  return absl::StrCat(Name(activation), " of ", input_width);
}

Cost Activate::cost() const {
  return {static_cast<double>(problem().input_width), 0};
}

std::string LayerNormProblem::ToString() const {
  return absl::StrCat("over ", input_width, ", epsilon ", epsilon,
                      centred ? "" : ", around 0",
                      has_bias || !centred ? "" : ", without bias");
}

Cost LayerNorm::cost() const {
  return {
      kLayerNormStepsPerElement * static_cast<double>(problem().input_width),
      static_cast<double>(weights_bytes())};
}

int64_t LayerNorm::weights_bytes() const {
  return FloatBytes(weights->weight.size() + weights->bias.size());
}

std::string BlendProblem::ToString() const {
  return absl::StrCat("blend ", share, " : ", 1 - share, " of ", input_width);
}

Cost Blend::cost() const {
  return {kBlendStepsPerElement * static_cast<double>(problem().input_width),
          0};
}

std::string ScaleProblem::ToString() const {
  return absl::StrCat(channels,
                      channels == 1 ? " channel of " : " channels of ", inner);
}

Cost Scale::cost() const {
  return {2 * static_cast<double>(problem().input_width),
          static_cast<double>(weights_bytes())};
}

int64_t Scale::weights_bytes() const {
  return FloatBytes(weights->scale.size() + weights->shift.size());
}

std::string AddProblem::ToString() const {
  return absl::StrCat("of ", input_width);
}

Cost Add::cost() const {
  return {static_cast<double>(problem().input_width), 0};
}

std::string GateProblem::ToString() const {
  return absl::StrCat(gate_first ? "first" : "second", " half of ", input_width,
                      " by ", Name(activation));
}

Cost Gate::cost() const {
  return {2 * static_cast<double>(problem().output_width), 0};
}

std::string SoftmaxProblem::ToString() const {
  return absl::StrCat("over ", input_width);
}

Cost Softmax::cost() const {
  return {kSoftmaxStepsPerElement * static_cast<double>(problem().input_width),
          0};
}

}  // namespace fff::graph

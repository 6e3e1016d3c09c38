#include "server/model/layer_norm_layer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fff::model {
namespace {

// Elements a thread takes at least; below this the hand-over costs more.
constexpr int64_t kFloatsGrain = 16384;
// Mean; variance; normalise; scale; shift.
constexpr double kStepsAnElement = 7;

}  // namespace

LayerNormLayer::LayerNormLayer(tensor::FloatArray weight,
                               tensor::FloatArray bias, double epsilon)
    : weight_(std::move(weight)), bias_(std::move(bias)), epsilon_(epsilon) {}

std::string LayerNormLayer::Describe() const {
  return absl::StrCat("over ", weight_.size(), ", epsilon ", epsilon_,
                      bias_.empty() ? ", without bias" : "");
}

int64_t LayerNormLayer::weights_bytes() const {
  return (weight_.size() + bias_.size()) * static_cast<int64_t>(sizeof(float));
}

LayerCost LayerNormLayer::cost() const {
  return {kStepsAnElement * static_cast<double>(weight_.size()),
          static_cast<double>(weights_bytes())};
}

void LayerNormLayer::RunRow(const float* x, float* y) const {
  const int64_t width = weight_.size();
  double sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(width);
  double squares = 0;
  for (int64_t i = 0; i < width; ++i) {
    const double centred = x[i] - mean;
    squares += centred * centred;
  }
  const double scale =
      1 / std::sqrt(squares / static_cast<double>(width) + epsilon_);
  for (int64_t i = 0; i < width; ++i) {
    const double normal = (x[i] - mean) * scale;
    const double shift = bias_.empty() ? 0.0 : bias_[i];
    y[i] = static_cast<float>(normal * weight_[i] + shift);
  }
}

void LayerNormLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                         const engine::RouteSink& /*routes*/,
                         engine::ExecutionContext& context) const {
  const int64_t grain = std::max<int64_t>(1, kFloatsGrain / weight_.size());
  context.ParallelFor(x.rows, grain,
                      [&](int64_t begin, int64_t end, int /*thread*/) {
                        for (int64_t r = begin; r < end; ++r) {
                          RunRow(x.row(r), y.row(r));
                        }
                      });
}

}  // namespace fff::model

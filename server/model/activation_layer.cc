#include "server/model/activation_layer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/engine/cpu/activation.h"

namespace fff::model {
namespace {

// A thread's share: small enough that it is still in the first-level cache when
// the copy is activated.
constexpr int64_t kFloatsAtOnce = 4096;

}  // namespace

std::string ActivationLayer::Describe() const {
  return absl::StrCat(engine::Name(activation_), " of ", width_);
}

LayerCost ActivationLayer::cost() const {
  return {is_identity() ? 0.0 : static_cast<double>(width_), 0};
}

void ActivationLayer::Run(tensor::ConstRows x, tensor::MutableRows y,
                          const engine::RouteSink& /*routes*/,
                          engine::ExecutionContext& context) const {
  const auto body = [&](int64_t begin, int64_t end, int /*thread*/) {
    for (int64_t at = begin; at < end; at += kFloatsAtOnce) {
      const int64_t count = std::min(kFloatsAtOnce, end - at);
      std::copy_n(x.data + at, count, y.data + at);
      engine::Activate(activation_,
                       absl::MakeSpan(y.data + at, static_cast<size_t>(count)));
    }
  };
  context.ParallelFor(x.rows * width_, kFloatsAtOnce, body);
}

}  // namespace fff::model

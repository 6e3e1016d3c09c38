#include "server/engine/cpu/activation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/activation.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

void ActivateSpan(Activation activation, float* values, int64_t count) {
  ActivateInPlace(activation, values, count);
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(ActivateSpan);

void Activate(Activation activation, absl::Span<float> values) {
  HWY_DYNAMIC_DISPATCH(ActivateSpan)
  (activation, values.data(), static_cast<int64_t>(values.size()));
}

}  // namespace fff::engine
#endif  // HWY_ONCE

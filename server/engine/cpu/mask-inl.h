// The mask of a path layer that is evaluated densely. Included once a Highway
// target.

#if defined(FFF_ENGINE_CPU_MASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_MASK_INL_H_
#undef FFF_ENGINE_CPU_MASK_INL_H_
#else
#define FFF_ENGINE_CPU_MASK_INL_H_
#endif

#include "server/engine/cpu/activation-inl.h"
#include "server/engine/problem.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// z [nodes, stride] of one tree -> act(z) on each row's path, zero elsewhere.
// Nodes come in heap order, so a row meets its path's nodes one after the
// other.
template <Activation kActivation>
HWY_INLINE void MaskTree(const PathProblem& p, int64_t stride, float* z) {
  const D d;
  const hn::RebindToSigned<D> di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto nodes = static_cast<int32_t>(p.nodes());
  const bool tie_right = p.tie == Tie::kRight;
  for (int64_t row = 0; row < stride; row += lanes) {
    auto at = hn::Zero(di);
    for (int32_t n = 0; n < nodes; ++n) {
      float* value = z + n * stride + row;
      const V v = hn::LoadU(d, value);
      const auto here = hn::RebindMask(d, hn::Eq(at, hn::Set(di, n)));
      const auto right =
          tie_right ? hn::Ge(v, hn::Zero(d)) : hn::Gt(v, hn::Zero(d));
      const auto next =
          hn::IfThenElse(hn::RebindMask(di, right), hn::Set(di, 2 * n + 2),
                         hn::Set(di, 2 * n + 1));
      at = hn::IfThenElse(hn::RebindMask(di, here), next, at);
      hn::StoreU(hn::IfThenElseZero(here, ActivateOne<kActivation>(d, v)), d,
                 value);
    }
  }
}

HWY_INLINE void Mask(const PathProblem& p, int64_t stride, float* z) {
  graph::WithActivation(p.activation, [&](auto which) HWY_ATTR {
    MaskTree<decltype(which)::value>(p, stride, z);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_MASK_INL_H_

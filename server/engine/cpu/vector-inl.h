// Vector loads and stores at row ends, and the one dot product that decides
// routes. Included once a Highway target by the kernels' source files.

#if defined(FFF_ENGINE_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_VECTOR_INL_H_
#undef FFF_ENGINE_CPU_VECTOR_INL_H_
#else
#define FFF_ENGINE_CPU_VECTOR_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// The first `count` < Lanes floats at p, zeros after them. Never touches memory
// beyond p[count - 1].
HWY_INLINE V LoadFirst(D d, const float* HWY_RESTRICT p, size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(lanes, p, count * sizeof(float));
  return hn::Load(d, lanes);
#else
  return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#endif
}

HWY_INLINE void StoreFirst(V v, D d, float* HWY_RESTRICT p, size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, d, lanes);
  std::memcpy(p, lanes, count * sizeof(float));
#else
  hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#endif
}

// z[b] = w[b] . x[b] for kLanes independent pairs of rows of n floats.
//
// The order of summation is the same for every kLanes: vector c of a row goes
// to partial sum c % 4, the rest to sum 0, the partial sums are added as
// (0+1)+(2+3), then across lanes. A row's z, hence its route, is therefore
// bitwise the same in every kernel and batch on one instruction set.
//
// Four partial sums cover the latency of fused multiply-add (4 cycles, two a
// cycle) for two pairs at once; 4 pairs x 4 sums fill half of AVX-512's
// registers.
template <int kPairs>
HWY_INLINE void DotPairs(const float* const* HWY_RESTRICT w,
                         const float* const* HWY_RESTRICT x, int64_t n,
                         float* HWY_RESTRICT z) {
  constexpr int kSums = 4;
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sum[kPairs][kSums];
  for (int b = 0; b < kPairs; ++b) {
    for (int c = 0; c < kSums; ++c) sum[b][c] = hn::Zero(d);
  }
  int64_t i = 0;
  for (; i + kSums * lanes <= n; i += kSums * lanes) {
    for (int c = 0; c < kSums; ++c) {
      for (int b = 0; b < kPairs; ++b) {
        const int64_t at = i + c * lanes;
        sum[b][c] = hn::MulAdd(hn::LoadU(d, w[b] + at), hn::LoadU(d, x[b] + at),
                               sum[b][c]);
      }
    }
  }
  // Up to three whole vectors are left, to sums 0, 1, 2, ...
  for (int c = 0; c + 1 < kSums; ++c) {
    const int64_t at = i + c * lanes;
    if (at + lanes > n) continue;
    for (int b = 0; b < kPairs; ++b) {
      sum[b][c] = hn::MulAdd(hn::LoadU(d, w[b] + at), hn::LoadU(d, x[b] + at),
                             sum[b][c]);
    }
  }
  // ... and a part of a vector, to sum 0.
  const int64_t at = n / lanes * lanes;
  if (at < n) {
    const auto part = static_cast<size_t>(n - at);
    for (int b = 0; b < kPairs; ++b) {
      sum[b][0] = hn::MulAdd(LoadFirst(d, w[b] + at, part),
                             LoadFirst(d, x[b] + at, part), sum[b][0]);
    }
  }
  for (int b = 0; b < kPairs; ++b) {
    const V total =
        hn::Add(hn::Add(sum[b][0], sum[b][1]), hn::Add(sum[b][2], sum[b][3]));
    z[b] = hn::GetLane(hn::SumOfLanes(d, total));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_VECTOR_INL_H_

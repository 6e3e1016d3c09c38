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
#include "server/engine/weights.h"

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

// body(d, i) for all of [0, count): whole vectors, then one element at a time,
// so that every element meets the same operations wherever it stands.
template <class Body>
HWY_INLINE void ForEachVector(int64_t count, const Body& body) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(d, i);
  const hn::CappedTag<float, 1> one;
  for (; i < count; ++i) body(one, i);
}

// A vector of weights, widened to fp32 where they are held in fewer bits.
HWY_INLINE V LoadWeights(D d, const float* HWY_RESTRICT p) {
  return hn::LoadU(d, p);
}
HWY_INLINE V LoadWeights(D d, const Bf16* HWY_RESTRICT p) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> du16;
  const auto bits = hn::PromoteTo(du, hn::LoadU(du16, &p->bits));
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}
HWY_INLINE V LoadWeights(D d, const int8_t* HWY_RESTRICT p) {
  const hn::RebindToSigned<D> di;
  const hn::Rebind<int8_t, D> di8;
  return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(di8, p)));
}

// The first `count` < Lanes weights at p; what follows is unspecified but
// finite and, for fp32, zero. Reduced rows may be read beyond their end
// (ReducedMatrix).
HWY_INLINE V LoadWeightsFirst(D d, const float* HWY_RESTRICT p, size_t count) {
  return LoadFirst(d, p, count);
}
template <class W>
HWY_INLINE V LoadWeightsFirst(D d, const W* HWY_RESTRICT p, size_t /*count*/) {
  return LoadWeights(d, p);
}

#if HWY_TARGET != HWY_SCALAR
// Adds the 128-bit blocks of v, halving until one is left.
template <class DV>
HWY_INLINE auto SumBlocks(DV /*d*/, hn::Vec<DV> v) {
  if constexpr (hn::MaxLanes(DV()) <= 4) {
    return v;
  } else {
    const hn::Half<DV> half;
    return SumBlocks(half,
                     hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

#endif  // HWY_TARGET != HWY_SCALAR

// out = {sum of a, sum of b, sum of c, sum of d}. The order of additions in a
// vector is the same for each of the four: 13 instructions for four sums, where
// four single sums would take 32.
HWY_INLINE void SumLanesOf4(V a, V b, V c, V d4, float* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_SCALAR
  out[0] = hn::GetLane(a);
  out[1] = hn::GetLane(b);
  out[2] = hn::GetLane(c);
  out[3] = hn::GetLane(d4);
#else
  const D d;
  const hn::RepartitionToWide<D> d64;
  const V ab =
      hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const V cd =
      hn::Add(hn::InterleaveLower(d, c, d4), hn::InterleaveUpper(d, c, d4));
  const auto ab64 = hn::BitCast(d64, ab);
  const auto cd64 = hn::BitCast(d64, cd);
  const V sums = hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, ab64, cd64)),
                         hn::BitCast(d, hn::InterleaveUpper(d64, ab64, cd64)));
  hn::StoreU(SumBlocks(d, sums), hn::CappedTag<float, 4>(), out);
#endif
}

// Makes a loaded vector stay in its register. gcc 12 folds the load into every
// fused multiply-add that uses it. A tile of 3 x 2 products then waits for 8
// loads per step, not 5, in place of the multipliers: 4.3 and 3.0 us per row
// for 384 nodes of width 768 (Zen 5).
HWY_INLINE void KeepInRegister([[maybe_unused]] V& v) {
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
  asm("" : "+v"(v.raw));
#endif
}

// One vector of every product into partial sum kSum. Indices into `sum` are
// constants throughout, so that all of it stays in registers.
template <int kSum, bool kShared, int kRows, int kNodes, class W>
HWY_INLINE void AddProducts(const W* const (*w)[kNodes], const float* const* x,
                            int64_t at, V (&sum)[kRows][kNodes][4]) {
  const D d;
  V shared[kNodes];
  if constexpr (kShared) {
    for (int k = 0; k < kNodes; ++k) {
      shared[k] = LoadWeights(d, w[0][k] + at);
      if constexpr (kNodes > 1) KeepInRegister(shared[k]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    V v = hn::LoadU(d, x[r] + at);
    if constexpr (kNodes > 1) KeepInRegister(v);
    for (int k = 0; k < kNodes; ++k) {
      if constexpr (kShared) {
        sum[r][k][kSum] = hn::MulAdd(shared[k], v, sum[r][k][kSum]);
      } else {
        sum[r][k][kSum] =
            hn::MulAdd(LoadWeights(d, w[r][k] + at), v, sum[r][k][kSum]);
      }
    }
  }
}

// Dot products of kRows rows with kNodes rows of weights each, z[r][k] =
// w[r][k] . x[r]. With kShared all rows meet the nodes w[0][..], which are then
// loaded once.
//
// The order of summation is the same for every tile. Vector c of a row goes to
// partial sum c % 4, the rest to sum 0. The partial sums are added as
// (0+1)+(2+3), then across lanes as in SumLanesOf4. A row's z, hence its route,
// is therefore bitwise the same in every kernel and batch on one instruction
// set.
//
// Four partial sums cover the latency of fused multiply-add (4 cycles, two per
// cycle) for two products at once.
template <bool kShared, int kRows, int kNodes, class W>
HWY_INLINE void DotTile(const W* const (*w)[kNodes], const float* const* x,
                        int64_t n, float (*z)[kNodes]) {
  constexpr int kSums = 4;
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sum[kRows][kNodes][kSums];
  for (int r = 0; r < kRows; ++r) {
    for (int k = 0; k < kNodes; ++k) {
      for (int c = 0; c < kSums; ++c) sum[r][k][c] = hn::Zero(d);
    }
  }
  int64_t i = 0;
  for (; i + kSums * lanes <= n; i += kSums * lanes) {
    AddProducts<0, kShared, kRows, kNodes>(w, x, i, sum);
    AddProducts<1, kShared, kRows, kNodes>(w, x, i + lanes, sum);
    AddProducts<2, kShared, kRows, kNodes>(w, x, i + 2 * lanes, sum);
    AddProducts<3, kShared, kRows, kNodes>(w, x, i + 3 * lanes, sum);
  }
  // Up to three whole vectors are left, then a part of one.
  if (i + lanes <= n) {
    AddProducts<0, kShared, kRows, kNodes>(w, x, i, sum);
  }
  if (i + 2 * lanes <= n) {
    AddProducts<1, kShared, kRows, kNodes>(w, x, i + lanes, sum);
  }
  if (i + 3 * lanes <= n) {
    AddProducts<2, kShared, kRows, kNodes>(w, x, i + 2 * lanes, sum);
  }
  const int64_t whole = n / lanes * lanes;
  if (whole < n) {
    const auto part = static_cast<size_t>(n - whole);
    for (int r = 0; r < kRows; ++r) {
      const V v = LoadFirst(d, x[r] + whole, part);
      for (int k = 0; k < kNodes; ++k) {
        sum[r][k][0] =
            hn::MulAdd(LoadWeightsFirst(d, w[kShared ? 0 : r][k] + whole, part),
                       v, sum[r][k][0]);
      }
    }
  }
  // Four sums at a time; the last group repeats its last sum.
  constexpr int kAll = kRows * kNodes;
  V total[kAll + 3];
  for (int r = 0; r < kRows; ++r) {
    for (int k = 0; k < kNodes; ++k) {
      V(&s)[kSums] = sum[r][k];
      total[r * kNodes + k] = hn::Add(hn::Add(s[0], s[1]), hn::Add(s[2], s[3]));
    }
  }
  for (int i4 = kAll; i4 < kAll + 3; ++i4) total[i4] = total[kAll - 1];
  float out[kAll + 3];
  for (int i4 = 0; i4 < kAll; i4 += 4) {
    SumLanesOf4(total[i4], total[i4 + 1], total[i4 + 2], total[i4 + 3],
                out + i4);
  }
  for (int r = 0; r < kRows; ++r) {
    for (int k = 0; k < kNodes; ++k) z[r][k] = out[r * kNodes + k];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_VECTOR_INL_H_

// Products with a matrix that was packed into panels of a register tile's
// columns. Included once a Highway target.

#if defined(FFF_ENGINE_CPU_PANEL_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_PANEL_PRODUCT_INL_H_
#undef FFF_ENGINE_CPU_PANEL_PRODUCT_INL_H_
#else
#define FFF_ENGINE_CPU_PANEL_PRODUCT_INL_H_
#endif

#include <algorithm>

#include "server/engine/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Rows x vectors of columns of a register tile: 32 registers with AVX-512, else
// 16.
constexpr int kPanelRows = HWY_LANES(float) >= 16 ? 8 : 6;
constexpr int kPanelVectors = 2;

HWY_INLINE int64_t InWholeVectors(int64_t count) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  return (count + lanes - 1) / lanes * lanes;
}

// c [rows, columns] = factor [rows] * a [rows, terms] . b [terms, columns]. b
// lies in panels of kPanelVectors vectors of columns; the last may have fewer.
// The panel of column `at` starts at b + at * terms and is [terms, its width].
struct PanelProduct {
  int64_t rows;
  int64_t columns;
  int64_t terms;
  const float* a;
  int64_t a_stride;
  const float* b;
  const float* factor;
  float* c;
  int64_t c_stride;
};

// Of `left` columns the first vector, zeros after the last.
HWY_INLINE V LoadColumns(const float* from, int64_t left) {
  const D d;
  return left >= static_cast<int64_t>(hn::Lanes(d))
             ? hn::LoadU(d, from)
             : LoadFirst(d, from, static_cast<size_t>(left));
}

HWY_INLINE void StoreColumns(V v, float* to, int64_t left) {
  const D d;
  if (left >= static_cast<int64_t>(hn::Lanes(d))) {
    hn::StoreU(v, d, to);
  } else {
    StoreFirst(v, d, to, static_cast<size_t>(left));
  }
}

// Rows beyond the last repeat it and are not stored: a tile is always whole.
// Not inlined: gcc 12 then keeps all pointers in registers, 44 and 58 GFLOP/s
// for attention over 128 tokens (AVX2, Zen 3).
template <int kVectors>
HWY_NOINLINE void PanelTile(const PanelProduct& p, int64_t row, int64_t col,
                            int64_t terms) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* a[kPanelRows];
  V acc[kPanelRows][kVectors];
  for (int r = 0; r < kPanelRows; ++r) {
    a[r] = p.a + std::min(row + r, p.rows - 1) * p.a_stride;
    for (int c = 0; c < kVectors; ++c) acc[r][c] = hn::Zero(d);
  }
  const float* b = p.b + col * p.terms;
  for (int64_t k = 0; k < terms; ++k) {
    V source[kVectors];
    for (int c = 0; c < kVectors; ++c) {
      source[c] = hn::LoadU(d, b + c * lanes);
    }
    for (int r = 0; r < kPanelRows; ++r) {
      const V factor = hn::Set(d, a[r][k]);
      for (int c = 0; c < kVectors; ++c) {
        acc[r][c] = hn::MulAdd(factor, source[c], acc[r][c]);
      }
    }
    b += kVectors * lanes;
  }
  for (int r = 0; r < kPanelRows; ++r) {
    if (row + r >= p.rows) break;
    const V factor = hn::Set(d, p.factor[row + r]);
    float* to = p.c + (row + r) * p.c_stride + col;
    for (int c = 0; c < kVectors; ++c) {
      StoreColumns(hn::Mul(acc[r][c], factor), to + c * lanes,
                   p.columns - col - c * lanes);
    }
  }
}

template <int kVectors, class Terms>
HWY_INLINE void OnePanel(const PanelProduct& p, int64_t col,
                         const Terms& terms_of) {
  for (int64_t row = 0; row < p.rows; row += kPanelRows) {
    const int64_t terms = terms_of(row, col);
    if (terms > 0) PanelTile<kVectors>(p, row, col, terms);
  }
}

// terms_of(row, col): how many terms the tile there takes; 0 leaves it out.
template <class Terms>
HWY_INLINE void MultiplyPanels(const PanelProduct& p, const Terms& terms_of) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t col = 0;
  for (; col + lanes < p.columns; col += kPanelVectors * lanes) {
    OnePanel<kPanelVectors>(p, col, terms_of);
  }
  if (col < p.columns) OnePanel<1>(p, col, terms_of);
}

// to[c * stride + t] = from[t * from_stride + c] for t, c < 4.
HWY_INLINE void Transpose4(const float* from, int64_t from_stride, float* to,
                           int64_t stride) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < 16; ++i) {
    to[i % 4 * stride + i / 4] = from[i / 4 * from_stride + i % 4];
  }
#else
  const hn::FixedTag<float, 4> d;
  const hn::RepartitionToWide<decltype(d)> d2;
  const auto r0 = hn::LoadU(d, from);
  const auto r1 = hn::LoadU(d, from + from_stride);
  const auto r2 = hn::LoadU(d, from + 2 * from_stride);
  const auto r3 = hn::LoadU(d, from + 3 * from_stride);
  const auto a = hn::BitCast(d2, hn::InterleaveLower(d, r0, r1));
  const auto b = hn::BitCast(d2, hn::InterleaveLower(d, r2, r3));
  const auto c = hn::BitCast(d2, hn::InterleaveUpper(d, r0, r1));
  const auto e = hn::BitCast(d2, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, a, b)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, a, b)), d, to + stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, c, e)), d, to + 2 * stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, c, e)), d, to + 3 * stride);
#endif
}

HWY_INLINE int64_t PanelWidth(int64_t columns, int64_t col) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  return std::min(kPanelVectors * lanes, InWholeVectors(columns - col));
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_PANEL_PRODUCT_INL_H_

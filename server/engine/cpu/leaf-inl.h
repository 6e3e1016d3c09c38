// Small matrix products of the leaf family: few rows times one leaf's weights.
// Included once a Highway target.

#if defined(FFF_ENGINE_CPU_LEAF_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_LEAF_INL_H_
#undef FFF_ENGINE_CPU_LEAF_INL_H_
#else
#define FFF_ENGINE_CPU_LEAF_INL_H_
#endif

#include "server/engine/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// y[r] [width] = bias [width] (null: 0) + a[r] [terms] . w [terms, width].
// Rows of w are `stride` elements apart; w may be held in fewer bits.
template <class W>
struct Product {
  const float* const* a;
  int64_t terms;
  const W* w;
  int64_t stride;
  int64_t width;
  const float* bias;
  float* const* y;
  // [width], transposed products alone: what each sum is multiplied with before
  // the bias is added; null: 1.
  const float* scale = nullptr;
};

// Columns col .. col + kVectors vectors of kRows rows; kSplit partial sums over
// the terms hide the latency of fused multiply-add where kRows * kVectors is
// small. Each w is loaded once for all rows.
template <int kRows, int kVectors, int kSplit, class W>
HWY_INLINE void ProductTile(const Product<W>& p, int64_t col) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc[kSplit][kRows][kVectors];
  for (int c = 0; c < kVectors; ++c) {
    const V bias = p.bias != nullptr ? hn::LoadU(d, p.bias + col + c * lanes)
                                     : hn::Zero(d);
    for (int r = 0; r < kRows; ++r) {
      acc[0][r][c] = bias;
      for (int k = 1; k < kSplit; ++k) acc[k][r][c] = hn::Zero(d);
    }
  }
  const W* w = p.w + col;
  int64_t i = 0;
  for (; i + kSplit <= p.terms; i += kSplit) {
    for (int k = 0; k < kSplit; ++k) {
      V ws[kVectors];
      for (int c = 0; c < kVectors; ++c) {
        ws[c] = LoadWeights(d, w + k * p.stride + c * lanes);
      }
      for (int r = 0; r < kRows; ++r) {
        const V a = hn::Set(d, p.a[r][i + k]);
        for (int c = 0; c < kVectors; ++c) {
          acc[k][r][c] = hn::MulAdd(a, ws[c], acc[k][r][c]);
        }
      }
    }
    w += kSplit * p.stride;
  }
  for (; i < p.terms; ++i, w += p.stride) {
    for (int c = 0; c < kVectors; ++c) {
      const V ws = LoadWeights(d, w + c * lanes);
      for (int r = 0; r < kRows; ++r) {
        acc[0][r][c] = hn::MulAdd(hn::Set(d, p.a[r][i]), ws, acc[0][r][c]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kVectors; ++c) {
      V total = acc[0][r][c];
      for (int k = 1; k < kSplit; ++k) total = hn::Add(total, acc[k][r][c]);
      hn::StoreU(total, d, p.y[r] + col + c * lanes);
    }
  }
}

// The last columns, fewer than a vector.
template <int kRows, int kSplit, class W>
HWY_INLINE void ProductTail(const Product<W>& p, int64_t col) {
  const D d;
  const auto part = static_cast<size_t>(p.width - col);
  V acc[kSplit][kRows];
  const V bias =
      p.bias != nullptr ? LoadFirst(d, p.bias + col, part) : hn::Zero(d);
  for (int r = 0; r < kRows; ++r) {
    acc[0][r] = bias;
    for (int k = 1; k < kSplit; ++k) acc[k][r] = hn::Zero(d);
  }
  const W* w = p.w + col;
  int64_t i = 0;
  for (; i + kSplit <= p.terms; i += kSplit) {
    for (int k = 0; k < kSplit; ++k) {
      const V ws = LoadWeightsFirst(d, w + k * p.stride, part);
      for (int r = 0; r < kRows; ++r) {
        acc[k][r] = hn::MulAdd(hn::Set(d, p.a[r][i + k]), ws, acc[k][r]);
      }
    }
    w += kSplit * p.stride;
  }
  for (; i < p.terms; ++i, w += p.stride) {
    const V ws = LoadWeightsFirst(d, w, part);
    for (int r = 0; r < kRows; ++r) {
      acc[0][r] = hn::MulAdd(hn::Set(d, p.a[r][i]), ws, acc[0][r]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    V total = acc[0][r];
    for (int k = 1; k < kSplit; ++k) total = hn::Add(total, acc[k][r]);
    StoreFirst(total, d, p.y[r] + col, part);
  }
}

// For one row: inlined, gcc 12 keeps these sums in memory. 784 -> means -> 32,
// leaves of 64 neurons, AVX-512 (Zen 5): 0.485 -> 0.466 us per row. For four
// rows the call costs more than it saves.
template <int kVectors, int kSplit, class W>
HWY_NOINLINE void ProductTileApart(const Product<W>& p, int64_t col) {
  ProductTile<1, kVectors, kSplit>(p, col);
}

// All columns of kRows rows. Tiles keep 8 to 16 sums in flight: two fused
// multiply-adds per cycle, four cycles each.
template <int kRows, class W>
HWY_INLINE void MultiplyRows(const Product<W>& p) {
  constexpr int kWide = kRows >= 4 ? 4 : 8 / kRows;
  constexpr int kSplit = kRows >= 4 ? 1 : 4 / kRows;
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t col = 0;
  for (; col + kWide * lanes <= p.width; col += kWide * lanes) {
    ProductTile<kRows, kWide, 1>(p, col);
  }
  for (; col + 2 * lanes <= p.width; col += 2 * lanes) {
    if constexpr (kRows == 1) {
      ProductTileApart<2, kSplit>(p, col);
    } else {
      ProductTile<kRows, 2, kSplit>(p, col);
    }
  }
  for (; col + lanes <= p.width; col += lanes) {
    ProductTile<kRows, 1, 2 * kSplit>(p, col);
  }
  if (col < p.width) ProductTail<kRows, 2 * kSplit>(p, col);
}

// The same with w transposed, wt [width, terms]: each output is a dot product
// over contiguous terms. For widths below a vector, where rows of w would leave
// lanes idle. kRows x kColumns sums in flight, kColumns 1, 2 or 4. Not
// inlined, where gcc 12 keeps the sums in memory.
template <int kRows, int kColumns, class W>
HWY_NOINLINE void DotColumns(const Product<W>& p, int64_t col) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const W* wt = p.w + col * p.stride;
  V acc[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) acc[r][c] = hn::Zero(d);
  }
  int64_t i = 0;
  for (; i + lanes <= p.terms; i += lanes) {
    V ws[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      ws[c] = LoadWeights(d, wt + c * p.stride + i);
      if constexpr (kRows > 1) KeepInRegister(ws[c]);
    }
    for (int r = 0; r < kRows; ++r) {
      V a = hn::LoadU(d, p.a[r] + i);
      if constexpr (kColumns > 1) KeepInRegister(a);
      for (int c = 0; c < kColumns; ++c) {
        acc[r][c] = hn::MulAdd(a, ws[c], acc[r][c]);
      }
    }
  }
  if (i < p.terms) {
    const auto part = static_cast<size_t>(p.terms - i);
    for (int r = 0; r < kRows; ++r) {
      const V a = LoadFirst(d, p.a[r] + i, part);
      for (int c = 0; c < kColumns; ++c) {
        acc[r][c] = hn::MulAdd(
            a, LoadWeightsFirst(d, wt + c * p.stride + i, part), acc[r][c]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float sum[4];
    SumLanesOf4(acc[r][0], acc[r][1 % kColumns], acc[r][2 % kColumns],
                acc[r][3 % kColumns], sum);
    for (int c = 0; c < kColumns; ++c) {
      const float bias = p.bias != nullptr ? p.bias[col + c] : 0.0f;
      p.y[r][col + c] =
          bias + (p.scale != nullptr ? sum[c] * p.scale[col + c] : sum[c]);
    }
  }
}

template <int kRows, class W>
HWY_INLINE void MultiplyRowsTransposed(const Product<W>& p) {
  constexpr int kColumns = HWY_LANES(float) >= 16 || kRows < 4 ? 4 : 2;
  int64_t col = 0;
  for (; col + kColumns <= p.width; col += kColumns) {
    DotColumns<kRows, kColumns>(p, col);
  }
  for (; col < p.width; ++col) DotColumns<kRows, 1>(p, col);
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_LEAF_INL_H_

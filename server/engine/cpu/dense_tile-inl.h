// Register tiles of dense_panel: a few rows of x times a few vectors of columns
// of W, which lies in panels. Included once per Highway target.

#include "hwy/cache_control.h"
#include "server/engine/cpu/packed_dense.h"
#include "server/engine/cpu/panel_product-inl.h"

#ifndef FFF_ENGINE_CPU_DENSE_TILE_ONCE
#define FFF_ENGINE_CPU_DENSE_TILE_ONCE
namespace fff::engine {

// How far ahead W is fetched, in terms, every cache line of it. Alone, one
// stream of W from L3 runs at half the speed; with every other line the
// whole product took 1.1 to 1.3 times as long.
constexpr int64_t kFetchAhead = 32;
constexpr int64_t kLineFloats = 16;

struct DensePanelArgs {
  const DenseProblem* problem;
  const float* panels;
  PanelLayout layout;  // of whole panels of this kernel
  const float* bias;   // [O in whole panels]
  tensor::ConstRows x;
  tensor::MutableRows y;
};

}  // namespace fff::engine
#endif

#if defined(FFF_ENGINE_CPU_DENSE_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_DENSE_TILE_INL_H_
#undef FFF_ENGINE_CPU_DENSE_TILE_INL_H_
#else
#define FFF_ENGINE_CPU_DENSE_TILE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Rows x vectors of columns of a register tile: 24 sums of the 32 registers of
// AVX-512, 12 of the 16 of others.
constexpr int kTileRows = 6;
constexpr int kTileVectors = HWY_LANES(float) >= 16 ? 4 : 2;

// Rows [row, row + rows) and terms [term, term + terms).
struct DenseBlock {
  const DensePanelArgs& args;
  int64_t row;
  int64_t rows;
  int64_t term;
  int64_t terms;
};

// Where column `col` of the block's first term stands.
HWY_INLINE const float* WeightsAt(const DenseBlock& block, int64_t col) {
  const PanelLayout& layout = block.args.layout;
  return block.args.panels + col / layout.columns * layout.panel_floats +
         block.term * layout.columns + col % layout.columns;
}

// Adds the block's terms to kRows rows of kPanels panels from column `col` on.
template <int kRows, int kPanels, int kVectors>
HWY_NOINLINE void AddTerms(const DenseBlock& block, int64_t row, int64_t col) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const DensePanelArgs& args = block.args;
  const DenseProblem& p = *args.problem;
  const float* x[kRows];
  V acc[kRows][kPanels * kVectors];
  for (int r = 0; r < kRows; ++r) {
    x[r] = args.x.row(row + r) + block.term;
    for (int c = 0; c < kPanels * kVectors; ++c) {
      const int64_t at = col + c * lanes;
      acc[r][c] = block.term == 0 ? hn::LoadU(d, args.bias + at)
                                  : LoadColumns(args.y.row(row + r) + at,
                                                p.output_width - at);
    }
  }
  const float* w[kPanels];
  for (int q = 0; q < kPanels; ++q) {
    w[q] = WeightsAt(block, col + q * kVectors * lanes);
  }
  const int64_t step = args.layout.columns;
  for (int64_t k = 0; k < block.terms; ++k) {
    V weight[kPanels * kVectors];
    for (int q = 0; q < kPanels; ++q) {
      const float* const ahead = w[q] + kFetchAhead * step;
      for (int64_t at = 0; at < kVectors * lanes; at += kLineFloats) {
        hwy::Prefetch(ahead + at);
      }
    }
    for (int q = 0; q < kPanels; ++q) {
      for (int c = 0; c < kVectors; ++c) {
        weight[q * kVectors + c] = hn::LoadU(d, w[q] + c * lanes);
      }
      w[q] += step;
    }
    for (int r = 0; r < kRows; ++r) {
      const V value = hn::Set(d, x[r][k]);
      for (int c = 0; c < kPanels * kVectors; ++c) {
        acc[r][c] = hn::MulAdd(value, weight[c], acc[r][c]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kPanels * kVectors; ++c) {
      const int64_t at = col + c * lanes;
      StoreColumns(acc[r][c], args.y.row(row + r) + at, p.output_width - at);
    }
  }
}

// AddTerms for the kVectors vectors behind the last whole panel: sum k of a
// column takes the terms k, k + kChains ..., and the sums are added in pairs.
template <int kRows, int kVectors, int kChains>
HWY_NOINLINE void AddTailTerms(const DenseBlock& block, int64_t row,
                               int64_t col) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const DensePanelArgs& args = block.args;
  const int64_t width = args.problem->output_width;
  const float* x[kRows];
  V acc[kChains][kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    x[r] = args.x.row(row + r) + block.term;
    for (int c = 0; c < kVectors; ++c) {
      const int64_t at = col + c * lanes;
      acc[0][r][c] = block.term == 0
                         ? hn::LoadU(d, args.bias + at)
                         : LoadColumns(args.y.row(row + r) + at, width - at);
      for (int k = 1; k < kChains; ++k) acc[k][r][c] = hn::Zero(d);
    }
  }
  const int64_t step = args.layout.columns;
  const float* w = WeightsAt(block, col);
  const auto add = [&](int64_t term, V(&sums)[kRows][kVectors]) HWY_ATTR {
    V weight[kVectors];
    for (int c = 0; c < kVectors; ++c) {
      hwy::Prefetch(w + kFetchAhead * step + c * lanes);
      weight[c] = hn::LoadU(d, w + c * lanes);
    }
    w += step;
    for (int r = 0; r < kRows; ++r) {
      const V value = hn::Set(d, x[r][term]);
      for (int c = 0; c < kVectors; ++c) {
        sums[r][c] = hn::MulAdd(value, weight[c], sums[r][c]);
      }
    }
  };
  int64_t term = 0;
  for (; term + kChains <= block.terms; term += kChains) {
    for (int k = 0; k < kChains; ++k) add(term + k, acc[k]);
  }
  for (int k = 0; term + k < block.terms; ++k) add(term + k, acc[k]);
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kVectors; ++c) {
      for (int half = kChains / 2; half > 0; half /= 2) {
        for (int k = 0; k < half; ++k) {
          acc[k][r][c] = hn::Add(acc[k][r][c], acc[k + half][r][c]);
        }
      }
      const int64_t at = col + c * lanes;
      StoreColumns(acc[0][r][c], args.y.row(row + r) + at, width - at);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_DENSE_TILE_INL_H_

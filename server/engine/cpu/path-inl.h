// The path family's second half: weighted sums of output rows. Included once a
// Highway target.

#if defined(FFF_ENGINE_CPU_PATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_PATH_INL_H_
#undef FFF_ENGINE_CPU_PATH_INL_H_
#else
#define FFF_ENGINE_CPU_PATH_INL_H_
#endif

#include "server/engine/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// One weighted sum of kRows x kVectors vectors at column `col`:
//   y[r] = (accumulate ? y[r] : 0) + sum_s a[r][s] * source[r][s], s ascending.
// The first `shared` sources are the same for all rows and are loaded once.
template <class W>
struct Sum {
  const W* const* const* source;  // [rows][count]
  const float* const* a;          // [rows][count]
  float* const* y;                // [rows]
  int count;
  int shared;
  bool accumulate;
  bool stream;  // y is vector-aligned and too large to stay in cache
};

template <int kRows, int kVectors, class W>
HWY_INLINE void SumColumns(const Sum<W>& sum, int64_t col) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kVectors; ++c) {
      acc[r][c] = sum.accumulate ? hn::LoadU(d, sum.y[r] + col + c * lanes)
                                 : hn::Zero(d);
    }
  }
  int s = 0;
  for (; s < sum.shared; ++s) {
    const W* source = sum.source[0][s] + col;
    V y[kVectors];
    for (int c = 0; c < kVectors; ++c) {
      y[c] = LoadWeights(d, source + c * lanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const V a = hn::Set(d, sum.a[r][s]);
      for (int c = 0; c < kVectors; ++c) {
        acc[r][c] = hn::MulAdd(a, y[c], acc[r][c]);
      }
    }
  }
  for (; s < sum.count; ++s) {
    for (int r = 0; r < kRows; ++r) {
      const V a = hn::Set(d, sum.a[r][s]);
      const W* source = sum.source[r][s] + col;
      for (int c = 0; c < kVectors; ++c) {
        acc[r][c] =
            hn::MulAdd(a, LoadWeights(d, source + c * lanes), acc[r][c]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kVectors; ++c) {
      float* to = sum.y[r] + col + c * lanes;
      if (sum.stream) {
        hn::Stream(acc[r][c], d, to);
      } else {
        hn::StoreU(acc[r][c], d, to);
      }
    }
  }
}

// The last, partial vector of one row.
template <class W>
HWY_INLINE void SumTail(const Sum<W>& sum, int row, int64_t col, size_t part) {
  const D d;
  float* to = sum.y[row] + col;
  V acc = sum.accumulate ? LoadFirst(d, to, part) : hn::Zero(d);
  for (int s = 0; s < sum.count; ++s) {
    acc = hn::MulAdd(hn::Set(d, sum.a[row][s]),
                     LoadWeightsFirst(d, sum.source[row][s] + col, part), acc);
  }
  StoreFirst(acc, d, to, part);
}

// All columns of kRows rows of `width` floats.
template <int kRows, int kVectors, class W>
HWY_INLINE void SumRows(const Sum<W>& sum, int64_t width) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  int64_t col = 0;
  for (; col + kVectors * lanes <= width; col += kVectors * lanes) {
    SumColumns<kRows, kVectors>(sum, col);
  }
  for (; col + lanes <= width; col += lanes) SumColumns<kRows, 1>(sum, col);
  if (col == width) return;
  for (int r = 0; r < kRows; ++r) {
    SumTail(sum, r, col, static_cast<size_t>(width - col));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_PATH_INL_H_

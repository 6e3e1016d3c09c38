// A block of rows that descends one tree level by level. Included once a
// Highway target.

#if defined(FFF_ENGINE_CPU_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_BLOCK_INL_H_
#undef FFF_ENGINE_CPU_BLOCK_INL_H_
#else
#define FFF_ENGINE_CPU_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "server/engine/cpu/router.h"
#include "server/engine/cpu/vector-inl.h"

#ifndef FFF_ENGINE_CPU_BLOCK_ONCE
#define FFF_ENGINE_CPU_BLOCK_ONCE
namespace fff::engine {

// Rows of a block at most.
constexpr int kBlockRowsMax = 64;

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Rows of one dot product tile of four partial sums each, in 32 registers with
// AVX-512 and 16 without.
constexpr int kDotRows = HWY_LANES(float) >= 16 ? 6 : 3;

// A block of rows on their way down one tree.
struct Block {
  int count;
  int32_t at[kBlockRowsMax];      // the node to visit next, by row
  int32_t order[kBlockRowsMax];   // rows; those at one node stand side by side
  int32_t next[kBlockRowsMax];    // the same for the next level
  const float* x[kBlockRowsMax];  // in that order
  float z[kBlockRowsMax];         // of x
};

template <int kRows, class W>
HWY_INLINE void DotRows(const Router<W>& tree, const float* const* x,
                        int32_t node, float* z) {
  const W* w[1][1] = {{tree.weights.Row(node)}};
  float dot[kRows][1];
  DotTile<true, kRows, 1, W>(w, x, tree.width, dot);
  for (int r = 0; r < kRows; ++r) z[r] = tree.Z(dot[r][0], node);
}

// z of `count` rows at one node.
template <class W>
HWY_NOINLINE void DotRun(const Router<W>& tree, const float* const* x,
                         int count, int32_t node, float* z) {
  for (; count >= kDotRows; count -= kDotRows) {
    DotRows<kDotRows>(tree, x, node, z);
    x += kDotRows;
    z += kDotRows;
  }
  if constexpr (kDotRows > 3) {
    if (count == 5) return DotRows<5>(tree, x, node, z);
    if (count == 4) return DotRows<4>(tree, x, node, z);
    if (count == 3) return DotRows<3>(tree, x, node, z);
  }
  if (count == 2) return DotRows<2>(tree, x, node, z);
  if (count == 1) return DotRows<1>(tree, x, node, z);
}

// Sends the rows order[begin .. end), which are at `node`, to its children.
template <class W>
HWY_INLINE void Part(const Router<W>& tree, int32_t node, int begin, int end,
                     Block& block) {
  int left = begin;
  int right = 0;
  int32_t goes_right[kBlockRowsMax];
  for (int i = begin; i < end; ++i) {
    const int32_t row = block.order[i];
    const int32_t to = tree.Right(block.z[i]);
    block.at[row] = 2 * node + 1 + to;
    block.next[left] = row;
    goes_right[right] = row;
    left += 1 - to;
    right += to;
  }
  std::copy(goes_right, goes_right + right, block.next + left);
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_BLOCK_INL_H_

// The descent of a batch, shared by the kernels that sort rows. Included once a
// Highway target.
//
// Rows walk four at a time, each on its own path, from z = w[n].x to the next
// node. A level of one row is 48 fused multiply-adds at width 768. On a Zen 5
// it takes 17 ns where w and x are in L1 (two loads each bound it), 21 ns from
// L2, 35 ns from memory. Hence levels go in stages whose node rows fit in L2
// together. Rows are sorted by node between stages, and the rows of the next
// tiles are fetched while this one is walked. Rows that have become too few to
// share node rows walk straight to the bottom.
//
// Tried on path-768-l12 with 16,384 rows, where the descent takes 7.5 ms of the
// kernel's 10.7 (one thread), and dropped:
//   no sorting between stages                                       8.0 ms
//   stages inside L1, blocks of 84 rows sorted in L2                8.2
//   fetching 84 rows ahead into L2 instead of 8 rows into L1        8.1
//   two rows against a node and both its children (a third fewer
//   loads, x read once for two levels, sorted every two levels)    11.3
//   two tiles in flight, tiles of 3 rows: no difference
//   chunks of 4,096 rows, to keep x in L3: 12.4 for the kernel, not 9.7
// and with the kernel's 18.1 ms on a Zen 4 (L1 of 32 KB, rows fetched into L1):
//   blocks of 6 to 48 rows level by level, rows at one node sharing its weights
//   as in path_tiled, those alone walked by fours: 18.5 to 20.3 ms; no
//   difference for leaf-784-8-10-d4, 0.63 to 0.67 ms in either form

#if defined(FFF_ENGINE_CPU_DESCENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FFF_ENGINE_CPU_DESCENT_INL_H_
#undef FFF_ENGINE_CPU_DESCENT_INL_H_
#else
#define FFF_ENGINE_CPU_DESCENT_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>

#include "server/engine/cpu/batch_shape.h"
#include "server/engine/cpu/counting_sort.h"
#include "server/engine/cpu/router.h"
#include "server/engine/cpu/vector-inl.h"
#include "server/engine/execution_context.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Pairs walked together: 4 partial sums each must fit the registers.
constexpr int kPairsOfTarget = HWY_LANES(float) >= 16 ? 4 : 2;

// Rows that start a stage stand at one node, which is then loaded once.
template <int kPairs, class W>
HWY_INLINE bool SameNode(const W* const (*w)[1]) {
  bool same = true;
  for (int b = 1; b < kPairs; ++b) same &= w[b][0] == w[0][0];
  return same;
}

// Walks kPairs (row, tree) pairs from level_begin to level_end. node[b] is the
// node to start at and becomes the node to visit next; z[b][level] is written.
// `prefetch` is stepped once per level.
template <int kPairs, class W, class Prefetch>
HWY_INLINE void Descend(const Router<W>* const* tree, const float* const* x,
                        int level_begin, int level_end, int32_t* node,
                        float* const* z, Prefetch& prefetch) {
  for (int level = level_begin; level < level_end; ++level) {
    prefetch.Step();
    const W* w[kPairs][1];
    float dot[kPairs][1];
    for (int b = 0; b < kPairs; ++b) {
      w[b][0] = tree[b]->weights.Row(node[b]);
    }
    if (kPairs > 1 && level == level_begin && SameNode<kPairs>(w)) {
      DotTile<true, kPairs, 1, W>(w, x, tree[0]->width, dot);
    } else {
      DotTile<false, kPairs, 1, W>(w, x, tree[0]->width, dot);
    }
    for (int b = 0; b < kPairs; ++b) {
      z[b][level] = tree[b]->Z(dot[b][0], node[b]);
      node[b] = 2 * node[b] + 1 + tree[b]->Right(z[b][level]);
    }
  }
}

// Rows of one tree on their way down.
template <class W>
struct Walk {
  Router<W> router;
  int levels;      // decisions in all
  const float* x;  // [rows, router.width]
  int64_t rows;
  float* z;  // row r's values at z + r * z_stride + level
  int64_t z_stride;
  int32_t* node;  // [rows], the node to visit next
};

template <int kPairs, class W, class Prefetch>
HWY_INLINE void DescendPairs(const Walk<W>& walk, const int32_t* row, int begin,
                             int end, Prefetch& prefetch) {
  const Router<W>* tree[kPairs];
  const float* x[kPairs];
  float* z[kPairs];
  int32_t node[kPairs];
  for (int b = 0; b < kPairs; ++b) {
    tree[b] = &walk.router;
    x[b] = walk.x + row[b] * walk.router.width;
    z[b] = walk.z + row[b] * walk.z_stride;
    node[b] = walk.node[row[b]];
  }
  Descend<kPairs>(tree, x, begin, end, node, z, prefetch);
  for (int b = 0; b < kPairs; ++b) walk.node[row[b]] = node[b];
}

// All rows, in the given order.
template <class W>
HWY_INLINE void DescendInOrder(const Walk<W>& walk, const int32_t* order,
                               int begin, int end, const BatchShape& shape) {
  RowPrefetch prefetch(walk.x, order, walk.rows, walk.router.width,
                       shape.rows_ahead, shape.fetch_to,
                       static_cast<double>(end - begin) / kPairsOfTarget);
  int64_t i = 0;
  for (; i + kPairsOfTarget <= walk.rows; i += kPairsOfTarget) {
    DescendPairs<kPairsOfTarget>(walk, order + i, begin, end, prefetch);
  }
  for (; i < walk.rows; ++i) {
    DescendPairs<1>(walk, order + i, begin, end, prefetch);
  }
}

// All rows from the root to the bottom. Returns the order in which they were
// visited last, [walk.rows] row ids; it lives in `scratch`.
template <class W>
HWY_INLINE const int32_t* DescendAll(const Walk<W>& walk,
                                     const BatchShape& shape,
                                     ScratchScope& scratch) {
  int32_t* order = scratch.Ints(walk.rows);
  int32_t* other = scratch.Ints(walk.rows);
  std::iota(order, order + walk.rows, 0);
  std::fill(walk.node, walk.node + walk.rows, 0);
  for (int level = 0; level < walk.levels;) {
    int stop = std::min(walk.levels, level + shape.stage_levels);
    if (walk.rows < (shape.rows_a_node << stop)) stop = walk.levels;
    DescendInOrder(walk, order, level, stop, shape);
    level = stop;
    if (level == walk.levels) break;
    SortRows(walk.node, LevelBegin(level), int64_t{1} << level, order,
             walk.rows, scratch.workspace(), other);
    std::swap(order, other);
  }
  return order;
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_DESCENT_INL_H_

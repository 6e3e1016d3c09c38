// The descent of a batch, shared by the kernels that sort rows. Included once a
// Highway target.
//
// Rows walk four at a time, each on its own path, from z = w[n].x to the next
// node. What bounds this is not arithmetic (48 fused multiply-adds a row and
// level at width 768 take 12 ns) but where w and x come from: 12 ns from L1,
// 21 ns from L2, 35 ns from memory. Hence
//   inner levels: as many as have their node rows in the L1 cache together;
//     after them a block's rows are sorted by node, so that the next inner
//     levels again meet few node rows;
//   outer levels: as many as have their node rows in the L2 cache together;
//     after them all rows are sorted by node;
//   blocks: as many rows of one outer subtree as stay in L2 next to its nodes.
//     While a block is walked, the next block is fetched, a few lines a level.
// Rows that have become too few to share node rows walk straight to the bottom.

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

// Walks kPairs (row, tree) pairs from level_begin to level_end. node[b] is the
// node to start at and becomes the node to visit next; z[b][level] is written.
// `prefetch` is stepped once a level.
template <int kPairs, class Prefetch>
HWY_INLINE void Descend(const Router* const* tree, const float* const* x,
                        int level_begin, int level_end, int32_t* node,
                        float* const* z, Prefetch& prefetch) {
  for (int level = level_begin; level < level_end; ++level) {
    prefetch.Step();
    const float* w[kPairs];
    float dot[kPairs];
    for (int b = 0; b < kPairs; ++b) {
      w[b] = tree[b]->weights + int64_t{node[b]} * tree[b]->width;
    }
    DotPairs<kPairs>(w, x, tree[0]->width, dot);
    for (int b = 0; b < kPairs; ++b) {
      if (tree[b]->bias != nullptr) dot[b] += tree[b]->bias[node[b]];
      z[b][level] = dot[b];
      node[b] = 2 * node[b] + 1 + tree[b]->Right(dot[b]);
    }
  }
}

// Rows of one tree on their way down.
struct Walk {
  Router router;
  int levels;      // decisions in all
  const float* x;  // [rows, router.width]
  int64_t rows;
  float* z;  // row r's values at z + r * z_stride + level
  int64_t z_stride;
  int32_t* node;  // [rows], the node to visit next
};

template <int kPairs, class Prefetch>
HWY_INLINE void DescendPairs(const Walk& walk, const int32_t* row, int begin,
                             int end, Prefetch& prefetch) {
  const Router* tree[kPairs];
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

template <class Prefetch>
HWY_INLINE void DescendInOrder(const Walk& walk, const int32_t* order,
                               int64_t count, int begin, int end,
                               Prefetch& prefetch) {
  int64_t i = 0;
  for (; i + kPairsOfTarget <= count; i += kPairsOfTarget) {
    DescendPairs<kPairsOfTarget>(walk, order + i, begin, end, prefetch);
  }
  for (; i < count; ++i) {
    DescendPairs<1>(walk, order + i, begin, end, prefetch);
  }
}

// `count` rows at one node of level `begin`, down to level `end`. `ahead` are
// the rows of the next block.
HWY_INLINE void DescendBlock(const Walk& walk, int inner_levels, int32_t* order,
                             int64_t count, int begin, int end,
                             const int32_t* ahead, int64_t ahead_count,
                             Workspace& workspace) {
  const int64_t steps = (count + kPairsOfTarget - 1) / kPairsOfTarget;
  RowPrefetch prefetch(walk.x, ahead, ahead_count, walk.router.width,
                       steps * (end - begin));
  const int32_t root = walk.node[order[0]];
  int32_t* other = workspace.Ints(kOrderInBlock, count);
  for (int level = begin; level < end;) {
    const int stop = std::min(end, level + inner_levels);
    DescendInOrder(walk, order, count, level, stop, prefetch);
    level = stop;
    if (level == end) break;
    const int down = level - begin;
    SortRows(walk.node, ((root + 1) << down) - 1, int64_t{1} << down, order,
             count, workspace, other);
    std::swap(order, other);
  }
}

// All rows from the root to the bottom. Returns the order in which they were
// visited last, [walk.rows] row ids; it lives in `workspace`.
HWY_INLINE const int32_t* DescendAll(const Walk& walk, const BatchShape& shape,
                                     Workspace& workspace) {
  int32_t* order = workspace.Ints(kOrder, walk.rows);
  int32_t* other = workspace.Ints(kOrderOther, walk.rows);
  std::iota(order, order + walk.rows, 0);
  std::fill(walk.node, walk.node + walk.rows, 0);
  for (int level = 0; level < walk.levels;) {
    if (level > 0 && walk.rows < (shape.rows_a_node << level)) {
      NoPrefetch none;
      DescendInOrder(walk, order, walk.rows, level, walk.levels, none);
      break;
    }
    if (level > 0) {
      SortRows(walk.node, LevelBegin(level), int64_t{1} << level, order,
               walk.rows, workspace, other);
      std::swap(order, other);
    }
    const int stop = std::min(walk.levels, level + shape.outer_levels);
    for (int64_t i = 0; i < walk.rows;) {
      const int64_t end = std::min(walk.rows, i + shape.block_rows);
      int64_t j = i + 1;
      while (j < end && walk.node[order[j]] == walk.node[order[i]]) ++j;
      DescendBlock(walk, shape.inner_levels, order + i, j - i, level, stop,
                   order + j, std::min(walk.rows - j, shape.block_rows),
                   workspace);
      i = j;
    }
    level = stop;
  }
  return order;
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#endif  // FFF_ENGINE_CPU_DESCENT_INL_H_

#pragma once

#include <algorithm>
#include <cstdint>

#include "server/engine/cpu/counting_sort.h"
#include "server/engine/cpu/router.h"
#include "server/engine/execution_context.h"

namespace fff::engine {

// How a sorting kernel goes through a batch; fixed by the problem.
struct BatchShape {
  int stage_levels;     // levels whose node rows fit in L2 together
  int64_t rows_a_node;  // fewer rows a subtree than this are not worth sorting
  int64_t rows_ahead;   // rows to fetch ahead of the walk
  CacheLevel fetch_to;  // where to
};

// For rows of `width` floats and weights of `weight_bytes` each, on cores with
// an L1 data cache of `l1_bytes` (0: unknown). An L2 cache of 1 MB and up is
// assumed; three quarters of it are left to rows and outputs.
//
// Eight rows of 768 floats, ahead of the four that are walked, are 36 KB: they
// fill an L1 of 48 KB, but push each other out of one of 32 KB. One thread of a
// Zen 4 with 32 KB, path-768-l12, fetched into L1, into L2 and not at all:
//   256 rows 466, 384 and 502 us
//   2,048 rows 3.24, 2.93 and 3.35 ms
//   16,384 rows 18.9, 14.7 and 18.5 ms.
inline BatchShape ShapeFor(int64_t width, int64_t weight_bytes,
                           int64_t l1_bytes) {
  const bool small_l1 = l1_bytes > 0 && l1_bytes < (48 << 10);
  BatchShape shape = {1, 4, 8, small_l1 ? CacheLevel::kL2 : CacheLevel::kL1};
  while (((int64_t{2} << shape.stage_levels) - 1) * width * weight_bytes <=
         (256 << 10)) {
    ++shape.stage_levels;
  }
  // Rows wider than this would push each other out of L1 before their turn.
  if (width > 1024) shape.rows_ahead = 0;
  return shape;
}

// Sorts row ids `in` by node, where nodes are first .. first + nodes - 1. More
// buckets than rows gain nothing, so many nodes are sorted by subtree.
inline void SortRows(const int32_t* node, int32_t first, int64_t nodes,
                     const int32_t* in, int64_t count, Workspace& workspace,
                     int32_t* out) {
  int shift = 0;
  while ((nodes >> shift) > std::max<int64_t>(4 * count, 256)) ++shift;
  const int64_t buckets = std::max<int64_t>(nodes >> shift, 1);
  ScratchScope scratch(workspace);
  int32_t* ends = scratch.Ints(buckets + 1);
  CountingSort([node, first,
                shift](int32_t row) { return (node[row] - first) >> shift; },
               buckets, in, count, ends, out);
}

}  // namespace fff::engine

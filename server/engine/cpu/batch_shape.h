#pragma once

#include <algorithm>
#include <cstdint>

#include "server/engine/cpu/counting_sort.h"
#include "server/engine/execution_context.h"

namespace fff::engine {

// How a sorting kernel cuts a batch to fit the caches; fixed by the problem.
struct BatchShape {
  int inner_levels;     // levels whose node rows fit in L1 together
  int outer_levels;     // levels whose node rows fit in L2 together
  int64_t block_rows;   // rows that stay in L2 beside them
  int64_t rows_a_node;  // fewer rows a subtree than this are not worth sorting
};

// For rows of `width` floats. L1 of 32 KB and L2 of 1 MB and up are assumed;
// half of each is left to rows, outputs and what is fetched ahead.
inline BatchShape ShapeFor(int64_t width) {
  const auto levels_in = [width](int64_t bytes) {
    int levels = 1;
    while (((int64_t{2} << levels) - 1) * width * 4 <= bytes) ++levels;
    return levels;
  };
  BatchShape shape;
  shape.inner_levels = levels_in(24 << 10);
  shape.outer_levels = std::max(shape.inner_levels, levels_in(256 << 10));
  shape.block_rows = std::max<int64_t>(16, (256 << 10) / (4 * width) / 4 * 4);
  shape.rows_a_node = 4;
  return shape;
}

// Slots of a thread's Workspace; ints and floats count apart.
enum IntSlot {
  kNodes,
  kOrder,
  kOrderOther,
  kOrderInBlock,
  kBucketEnds,
  kSorted,
};
enum FloatSlot { kZ, kHidden, kGathered, kProduct };

// Sorts row ids `in` by node, where nodes are first .. first + nodes - 1. More
// buckets than rows gain nothing, so many nodes are sorted by subtree.
inline void SortRows(const int32_t* node, int32_t first, int64_t nodes,
                     const int32_t* in, int64_t count, Workspace& workspace,
                     int32_t* out) {
  int shift = 0;
  while ((nodes >> shift) > std::max<int64_t>(4 * count, 256)) ++shift;
  const int64_t buckets = std::max<int64_t>(nodes >> shift, 1);
  int32_t* ends = workspace.Ints(kBucketEnds, buckets + 1);
  CountingSort([node, first,
                shift](int32_t row) { return (node[row] - first) >> shift; },
               buckets, in, count, ends, out);
}

}  // namespace fff::engine

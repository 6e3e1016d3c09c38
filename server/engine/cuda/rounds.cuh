#pragma once

#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {

// Few rows: a descent in rounds of three levels. All seven nodes that a row may
// visit in a round are evaluated side by side, so that a round, not a level,
// waits for memory. Heaps count from 1 here: node h has children 2h and 2h + 1,
// and is node h - 1 elsewhere.
inline constexpr int kRoundLevels = 3;
inline constexpr int kRoundNodes = 8;  // 1 to 7; 0 is unused

// Node `which` (1 to 7) of the round that starts at node `top`.
__device__ inline int NodeOfRound(int top, int which) {
  const int level = 31 - __clz(which);
  return (top << level) + which - (1 << level);
}

// One round's way down: z [kRoundNodes] of the round's nodes, from `level` of
// `levels` on. Returns the node to go on from; lane l keeps the z of level l.
__device__ inline int WalkRound(const float* z, int top, int level, int levels,
                                bool tie_left, int lane, float& z_of_lane) {
  int which = 1;
#pragma unroll
  for (int i = 0; i < kRoundLevels; ++i) {
    if (level + i >= levels) break;
    if (lane == level + i) z_of_lane = z[which];
    const int right = GoesRight(tie_left, z[which]) ? 1 : 0;
    top = 2 * top + right;
    which = 2 * which + right;
  }
  return top;
}

// The sum of one tree's path, `column` columns on: into row `path` of partial
// sums, or, with a single tree and so none, of y.
template <class W>
__device__ inline void StoreTotal(float* partials, void* y, int64_t path,
                                  const PathArgs& layer, int column,
                                  const Vector<W>& total) {
  const int count = layer.output_width - column;
  if (partials == nullptr) {
    StoreRow(RowOf<W>(y, path, layer.y_pitch) + column, total, count);
  } else {
    StoreRow(partials + path * layer.y_pitch + column, total, count);
  }
}

}  // namespace fff::engine::cuda

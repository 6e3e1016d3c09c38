#pragma once

#include "server/engine/cuda/rounds.cuh"
#include "server/engine/cuda/row_math.cuh"

// What the kernels with a block or more a row share: the descent, and weight
// rows against the row.
namespace fff::engine::cuda {

inline constexpr int kDescentWarps = kRoundNodes;  // of a block

// The leaf of one row; every thread of the block takes part. The block that
// `stores` writes the routes.
template <class W>
__device__ inline int DescendTogether(const LeafArgs& layer,
                                      const RowArgs& rows, int64_t row,
                                      bool stores) {
  __shared__ alignas(16) float z[2][kRoundNodes];
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const W* weights = static_cast<const W*>(layer.node_weights);
  const W* x = RowOf<W>(rows.x, row, layer.x_pitch);
  int top = 1;
  float z_of_lane = 0;
  for (int level = 0, round = 0; level < layer.depth;
       level += kRoundLevels, ++round) {
    if (warp > 0 && level + 31 - __clz(warp) < layer.depth) {
      const int64_t node = NodeOfRound(top, warp) - 1;
      const float value =
          WarpDot(weights + node * layer.x_pitch, x, layer.x_pitch, lane) +
          __ldg(layer.node_biases + node);
      if (lane == 0) z[round % 2][warp] = value;
    }
    __syncthreads();
    top = WalkRound(z[round % 2], top, level, layer.depth, layer.tie_left, lane,
                    z_of_lane);
  }
  const int leaf = top - (1 << layer.depth);
  if (warp == 0 && stores) {
    if (lane == 0) rows.leaves[row] = leaf;
    if (lane < layer.depth && rows.margins != nullptr) {
      rows.margins[row * layer.depth + lane] = z_of_lane;
    }
  }
  return leaf;
}

// kTogether weight rows against x; each lane's parts of the sums.
template <class W, int kTogether>
__device__ inline void PartialDots(const W* const (&w)[kTogether], const W* x,
                                   int pitch, int lane,
                                   float (&sum)[kTogether]) {
#pragma unroll 2
  for (int i = lane * kVector<W>; i < pitch; i += kWarp * kVector<W>) {
    uint4 raw[kTogether];
#pragma unroll
    for (int t = 0; t < kTogether; ++t) raw[t] = LoadRaw(w[t] + i);
    const Vector<W> row = Widen<W>(LoadRaw(x + i));
#pragma unroll
    for (int t = 0; t < kTogether; ++t) sum[t] += Dot(Widen<W>(raw[t]), row);
  }
}

}  // namespace fff::engine::cuda

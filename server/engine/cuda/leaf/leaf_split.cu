// leaf_split: rows filed under the leaves they reach; what comes before the
// products of leaf_grouped.cu and leaf_tensor.cu.
//
//   Shapes as leaf_walk.cu; -> leaves, margins, scratch.order, scratch.tiles
//
// One warp per row descends. A block files its rows together, with one addition
// per leaf. The last block cuts the rows of each leaf into tiles, so that the
// products find theirs with one load.
// Weights read per row: depth * x_pitch elements.
#include "server/engine/cuda/leaf/leaf_sorted.h"
#include "server/engine/cuda/row_math.cuh"
#include "server/engine/cuda/sort.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = kThreads / kWarp;
// Blocks per multiprocessor: levels wait, so as many as the registers allow
// that x and the weights of a level take.
template <class W, int kChunks>
constexpr int kBlocks = kChunks*(kVector<W> + 4) <= 36   ? 5
                        : kChunks*(kVector<W> + 4) <= 48 ? 4
                                                         : 3;

// x in the lanes, for rows of up to kChunks vectors per lane; kChunks 0: any
// width, x read anew on every level. The same sums.
template <class W, int kChunks>
__device__ inline Descent DescendAll(const LeafArgs& layer, const W* x,
                                     int lane) {
  const auto* const weights = static_cast<const W*>(layer.node_weights);
  Descent descent;
  if constexpr (kChunks > 0) {
    RowInLanes<W, kChunks, false> row;
    row.Load(x, layer.x_pitch, lane);
    Descend(row, weights, layer.node_biases, layer.x_pitch, 0, layer.depth,
            layer.tie_left, lane, descent);
  } else {
    for (int level = 0; level < layer.depth; ++level) {
      const float z = WarpDot(weights + int64_t{descent.node} * layer.x_pitch,
                              x, layer.x_pitch, lane) +
                      __ldg(layer.node_biases + descent.node);
      if (lane == level) descent.z = z;
      descent.node =
          2 * descent.node + 1 + (GoesRight(layer.tie_left, z) ? 1 : 0);
    }
  }
  return descent;
}

template <class W, int kChunks>
__global__ void __launch_bounds__(kThreads, kBlocks<W, kChunks>)
    LeafSplitKernel(const LeafArgs layer, const RowArgs rows, const int tiles,
                    const SortScratch scratch) {
  const int lane = threadIdx.x % kWarp;
  const auto row = static_cast<int>(blockIdx.x * kRows) +
                   static_cast<int>(threadIdx.x) / kWarp;
  int leaf = -1;
  if (row < rows.rows) {
    const Descent descent = DescendAll<W, kChunks>(
        layer, RowOf<W>(rows.x, row, layer.x_pitch), lane);
    leaf = descent.node - ((1 << layer.depth) - 1);
    if (lane == 0) rows.leaves[row] = leaf;
    if (rows.margins != nullptr && lane < layer.depth) {
      rows.margins[int64_t{row} * layer.depth + lane] = descent.z;
    }
  }
  const int leaves = 1 << layer.depth;
  FileRows<kThreads>(scratch, leaves, lane == 0 ? leaf : -1, row);
  if (!ComesLast(scratch)) return;
  FillTiles(scratch, leaves, tiles);
  __syncthreads();
  EmptyBuckets(scratch, leaves);
}

template <class W, int kChunks>
cudaError_t Launch(const LeafShape& shape, const RowArgs& rows,
                   const LaunchArgs& launch) {
  const auto tiles = static_cast<int>(TilesFor(rows.rows, LeavesOf(shape)));
  LeafSplitKernel<W, kChunks>
      <<<BlocksFor(rows.rows, kRows), kThreads, 0, StreamOf(launch)>>>(
          shape.args, rows, tiles, launch.scratch.sort);
  return cudaGetLastError();
}

}  // namespace

absl::Status LeafSplit(const LeafShape& shape, const RowArgs& rows,
                       const LaunchArgs& launch) {
  return ByType(shape.type, [&](auto w) {
    using W = decltype(w);
    const int chunks = ChunksOf<W>(shape.x_pitch);
    if (chunks > 6) return Launch<W, 0>(shape, rows, launch);
    return ByChunks<1, 3, 4, 6>(chunks, [&](auto held) {
      return Launch<W, decltype(held)::value>(shape, rows, launch);
    });
  });
}

}  // namespace fff::engine::cuda

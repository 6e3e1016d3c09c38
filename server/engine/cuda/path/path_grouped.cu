// path_grouped: rows sorted by subtree, for large batches.
//
//   Shapes as path_walk.cu, one tree.
//
// A plain walk is bound by the second-level cache: each row reads levels * (X +
// Y) rows of weights, of which only the top few levels stay in the first-level
// cache of a multiprocessor. So:
//   (1) PathSplit walks the first `split` levels, whose nodes fit that cache,
//       and files each row under the subtree it reached.
//   (2) PathFinish gives every block a contiguous range of the rows so sorted,
//       which share one or two subtrees. It finishes the walk and the output
//       from the first-level cache.
// x is read twice, weights once per block.
// Which block takes which row depends on the order of arrival; a row's result
// does not.
// Weights: as path_walk, but from the first-level cache; x twice, y once.
// Benchmark case: path-768-l12, 16,384 rows, an H100 (132 multiprocessors):
//   path_walk 125 us fp32, 70 us bf16; path_grouped 98 us fp32, 64 us bf16.
// Where the rest goes (fp32, Nsight Compute, split 7): PathSplit 30 us, device
// memory at 53 % of its bandwidth, first-level cache 59 %. PathFinish 70 us, 51
// % and 56 %, 80 % of its loads hit the first-level cache. Warps wait for loads
// two cycles in three: bound by latency at 32 warps of 64 registers. Tried:
//   split 5 and 6 5 % slower
//   predicated instead of exact widths half as many instructions again, same
//   time in fp32, 15 % more in bf16
//   rows in fp32 with bf16 weights 85 us
//   blocks of 512 threads with ranges apart, 72 % hits.
#include "server/engine/cuda/path/path_combine.cuh"
#include "server/engine/cuda/path/path_sums.h"
#include "server/engine/cuda/row_math.cuh"
#include "server/engine/cuda/sort.cuh"

namespace fff::engine::cuda {
namespace {

// Blocks per multiprocessor, 32 warps in all. Two of them hide the beginning
// and the end of a block, but work on two subtrees, whose weights fit the
// first-level cache together in bf16 alone.
template <class W>
inline constexpr int kBlocks = sizeof(W) == 4 ? 1 : 2;
template <class W>
inline constexpr int kThreads = 1024 / kBlocks<W>;
template <class W>
inline constexpr int kWarps = kThreads<W> / kWarp;
// Fewer subtrees than 32 leave most of a tree to the second-level cache.
constexpr int kSplitMin = 5;

template <class W, int kChunks, bool kExact>
__global__ void __launch_bounds__(kThreads<W>, kBlocks<W>)
    PathSplitKernel(const PathArgs layer, const RowArgs rows, const int split,
                    const SortScratch scratch) {
  const int lane = threadIdx.x % kWarp;
  const int warps = static_cast<int>(gridDim.x) * kWarps<W>;
  for (int row = static_cast<int>(blockIdx.x) * kWarps<W> + threadIdx.x / kWarp;
       row < rows.rows; row += warps) {
    RowInLanes<W, kChunks, kExact> x;
    x.Load(RowOf<W>(rows.x, row, layer.x_pitch), layer.x_pitch, lane);
    Descent descent;
    Descend(x, static_cast<const W*>(layer.x_weights), layer.bias,
            layer.x_pitch, 0, split, layer.tie_left, lane, descent);
    if (lane < split) scratch.top_z[row * kSplitMax + lane] = descent.z;
    if (lane == 0) {
      FileRow(scratch, descent.node - ((1 << split) - 1), row);
    }
  }
}

template <class W, int kChunks, bool kExact>
__global__ void __launch_bounds__(kThreads<W>, kBlocks<W>)
    PathFinishKernel(const PathArgs layer, const RowArgs rows, const int split,
                     const SortScratch scratch) {
  __shared__ int ends[kBucketsMax];
  __shared__ float kept[kWarps<W>][kLevelsMax];
  __shared__ int kept_leaves[kWarps<W>];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int buckets = 1 << split;
  PrefixSums(scratch.counts, 1, ends);
  const int64_t blocks = gridDim.x;
  // Blocks go to the multiprocessors in turn: those that meet on one take
  // neighbouring ranges.
  const int64_t turn = blocks / kBlocks<W>;
  const int64_t range = blockIdx.x % turn * kBlocks<W> + blockIdx.x / turn;
  const auto begin = static_cast<int>(rows.rows * range / blocks);
  const auto end = static_cast<int>(rows.rows * (range + 1) / blocks);
  for (int place = begin + warp; place < end; place += kWarps<W>) {
    const int bucket = BucketOf(ends, buckets, place);
    const int first = bucket == 0 ? 0 : ends[bucket - 1];
    const int64_t row =
        scratch.order[int64_t{bucket} * scratch.rows_max + place - first];
    RowInLanes<W, kChunks, kExact> x;
    x.Load(RowOf<W>(rows.x, row, layer.x_pitch), layer.x_pitch, lane);
    Descent descent;
    descent.node = bucket + buckets - 1;
    if (lane < split) descent.z = scratch.top_z[row * kSplitMax + lane];
    Descend(x, static_cast<const W*>(layer.x_weights), layer.bias,
            layer.x_pitch, split, layer.levels, layer.tie_left, lane, descent);
    if (lane == 0) {
      const int leaf = (descent.node - 1) / 2 - ((1 << (layer.levels - 1)) - 1);
      kept_leaves[warp] = leaf;
      rows.leaves[row] = leaf;
    }
    if (lane < layer.levels) {
      kept[warp][lane] = Activate(layer.activation, descent.z);
      if (rows.margins != nullptr) {
        rows.margins[row * layer.levels + lane] = descent.z;
      }
    }
    __syncwarp();
    CombinePaths<W, W, kCombineStep<kChunks, kExact>, kExact>(
        layer, 0, 1, kept[warp], &kept_leaves[warp], false,
        RowOf<W>(rows.y, row, layer.y_pitch), lane);
    __syncwarp();
  }
  ResetCounts(scratch, buckets);
}

template <class W, int kChunks, bool kExact = false>
cudaError_t Launch(const PathShape& shape, const LaunchArgs& launch) {
  const auto blocks =
      static_cast<unsigned>(shape.device.processors * kBlocks<W>);
  const SortScratch& sort = launch.scratch.sort;
  PathSplitKernel<W, kChunks, kExact>
      <<<blocks, kThreads<W>, 0, StreamOf(launch)>>>(shape.args, launch.rows,
                                                     launch.variant, sort);
  PathFinishKernel<W, kChunks, kExact>
      <<<blocks, kThreads<W>, 0, StreamOf(launch)>>>(shape.args, launch.rows,
                                                     launch.variant, sort);
  return cudaGetLastError();
}

template <class W>
cudaError_t Dispatch(const PathShape& shape, const LaunchArgs& launch) {
  const int chunks = ChunksOf<W>(shape.x_pitch);
  if (chunks == 3 && IsExact<W>(shape.args, 3)) {
    return Launch<W, 3, true>(shape, launch);
  }
  if (chunks == 6 && IsExact<W>(shape.args, 6)) {
    return Launch<W, 6, true>(shape, launch);
  }
  const auto start = [&](auto held) {
    return Launch<W, decltype(held)::value>(shape, launch);
  };
  if constexpr (kVector<W> == 4) {
    return ByChunks<2, 3, 4, 6, 8>(chunks, start);
  } else {
    return ByChunks<2, 3, 4>(chunks, start);
  }
}

bool Supports(const PathShape& shape) {
  return shape.x_pitch <= 1024 && shape.trees == 1 && shape.args.levels >= 2;
}

int SplitMost(const PathShape& shape) {
  return std::min(kSplitMax, shape.args.levels - 1);
}

std::vector<int> Variants(const PathShape& shape, const Ask& ask) {
  std::vector<int> splits;
  if (ask.rows < kSortRowsMin && !ask.all) return splits;
  const int most = SplitMost(shape);
  for (int split = std::min(kSplitMin, most); split <= most; ++split) {
    splits.push_back(split);
  }
  return splits;
}

ScratchNeed Needs(const PathShape& shape, int64_t) {
  return {0, 1 << SplitMost(shape), 0};
}

absl::Status LaunchAll(const PathShape& shape, const LaunchArgs& launch) {
  return ByType(shape.type,
                [&](auto w) { return Dispatch<decltype(w)>(shape, launch); });
}

}  // namespace

DevicePathKernel PathGrouped() {
  return {"path_grouped", kSortsRows, Supports, Variants, Needs, LaunchAll};
}

}  // namespace fff::engine::cuda

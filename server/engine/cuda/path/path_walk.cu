// path_walk: one warp per row, all levels in one launch.
//
//   x [rows, x_pitch], X [trees * nodes, x_pitch], Y [trees * nodes, y_pitch]
//   -> y [rows, y_pitch], leaves [rows, trees], margins [rows, trees, levels]
//
// The warp holds its row of x in registers (up to 16 vectors of 16 bytes per
// lane), reads a node's weights with coalesced 16-byte loads and sums over the
// lanes. Lane l keeps the z of level l, so that one call of the activation
// serves all levels. Then it adds up the Y rows of the path, whose loads do not
// depend on one another. Trees take turns, first tree first. When rows are few
// and trees many, `parts` warps share a row and SumPartials adds up.
// Weights per row and tree: levels * (x_pitch + y_pitch) elements, one
// multiply-add each, from the caches as far as rows share nodes.
// Benchmark case: path-768-l12, an H100: 1,024 rows 15.7 us fp32, 10.3 us bf16;
// 16,384 rows 125 and 70 us. path-768-t128-l5, 128 rows: 65 and 52 us.
// Tried: 80 registers instead of 72 spill less, 125 us against 157.
#include "server/engine/cuda/path/path_combine.cuh"
#include "server/engine/cuda/path/path_sums.h"
#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kBlockWarps = 4;
// Activations of the trees that are combined together, per warp. Shared memory
// is taken from the first-level cache: no more than needed.
constexpr int kKept = 96;

struct Parts {
  int count;        // warps per row
  int trees;        // a part, the last may have fewer
  float* partials;  // null: the one part writes y
};

// Blocks per multiprocessor: 28 warps for rows of up to 24 numbers per lane.
template <class W, int kChunks>
inline constexpr int kBlocksMin = kChunks* kVector<W> <= 24   ? 6
                                  : kChunks* kVector<W> <= 32 ? 5
                                                              : 1;

template <class W, class Y, int kChunks, bool kExact>
__global__ void __launch_bounds__(kBlockWarps* kWarp, kBlocksMin<W, kChunks>)
    PathWalkKernel(const PathArgs layer, const RowArgs rows,
                   const Parts parts) {
  __shared__ float kept[kBlockWarps][kKept];
  __shared__ int kept_leaves[kBlockWarps][kKept];
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int64_t task = int64_t{blockIdx.x} * kBlockWarps + warp;
  const int64_t row = task / parts.count;
  if (row >= rows.rows) return;
  const int part = static_cast<int>(task % parts.count);
  const int end = min(layer.trees, (part + 1) * parts.trees);
  Y* y = RowOf<Y>(
      parts.partials == nullptr ? rows.y : static_cast<void*>(parts.partials),
      task, layer.y_pitch);  // one part: the task is the row

  RowInLanes<W, kChunks, kExact> x;
  x.Load(RowOf<W>(rows.x, row, layer.x_pitch), layer.x_pitch, lane);
  const int64_t nodes = (int64_t{1} << layer.levels) - 1;
  const int together = max(1, kKept / layer.levels);
  for (int tree = part * parts.trees; tree < end; tree += together) {
    const int count = min(together, end - tree);
    for (int t = 0; t < count; ++t) {
      const int64_t first = (tree + t) * nodes;
      Descent descent;
      Descend(x, static_cast<const W*>(layer.x_weights) + first * layer.x_pitch,
              layer.bias == nullptr ? nullptr : layer.bias + first,
              layer.x_pitch, 0, layer.levels, layer.tie_left, lane, descent);
      // The decision on the last level leads nowhere: back to its parent.
      const int leaf = (descent.node - 1) / 2 - ((1 << (layer.levels - 1)) - 1);
      const int64_t path = row * layer.trees + tree + t;
      if (lane == 0) {
        kept_leaves[warp][t] = leaf;
        rows.leaves[path] = leaf;
      }
      if (lane < layer.levels) {
        kept[warp][t * layer.levels + lane] =
            Activate(layer.activation, descent.z);
        if (rows.margins != nullptr) {
          rows.margins[path * layer.levels + lane] = descent.z;
        }
      }
    }
    __syncwarp();
    CombinePaths<W, Y, kCombineStep<kChunks, kExact>, kExact>(
        layer, tree, count, kept[warp], kept_leaves[warp],
        tree > part * parts.trees, y, lane);
    __syncwarp();
  }
}

template <class W, class Y, int kChunks, bool kExact = false>
cudaError_t Start(const PathArgs& layer, const RowArgs& rows,
                  const Parts& parts, cudaStream_t stream) {
  const int64_t warps = int64_t{rows.rows} * parts.count;
  const auto blocks =
      static_cast<unsigned>((warps + kBlockWarps - 1) / kBlockWarps);
  PathWalkKernel<W, Y, kChunks, kExact>
      <<<blocks, kBlockWarps * kWarp, 0, stream>>>(layer, rows, parts);
  return cudaGetLastError();
}

template <class W, int kChunks, bool kExact = false>
cudaError_t Launch(const PathArgs& layer, const RowArgs& rows,
                   const Parts& parts, cudaStream_t stream) {
  return parts.partials == nullptr
             ? Start<W, W, kChunks, kExact>(layer, rows, parts, stream)
             : Start<W, float, kChunks, kExact>(layer, rows, parts, stream);
}

template <class W>
cudaError_t Dispatch(const PathArgs& layer, const RowArgs& rows,
                     const Parts& parts, cudaStream_t stream) {
  const int chunks = ChunksOf<W>(layer.x_pitch);
  // The widths of the common models, without checks.
  if (chunks == 3 && IsExact<W>(layer, 3)) {
    return Launch<W, 3, true>(layer, rows, parts, stream);
  }
  if (chunks == 4 && IsExact<W>(layer, 4)) {
    return Launch<W, 4, true>(layer, rows, parts, stream);
  }
  if (chunks == 6 && IsExact<W>(layer, 6)) {
    return Launch<W, 6, true>(layer, rows, parts, stream);
  }
  return ByChunks<1, 2, 3, 4, 6, 8, 16>(chunks, [&](auto held) {
    return Launch<W, decltype(held)::value>(layer, rows, parts, stream);
  });
}

// The fewest parts: sums that go through memory between trees must not be
// rounded to bf16 there.
int PartsMin(const PathShape& shape) {
  if (shape.type == WeightType::kFp32) return 1;
  const int together = kKept / shape.args.levels;
  return (shape.trees + together - 1) / together;
}

// Numbers of parts, as long as their sums fit the scratch.
std::vector<int> Variants(const PathShape& shape, const Ask& ask) {
  std::vector<int> found;
  const int least = PartsMin(shape);
  for (int64_t parts = least; parts <= shape.trees; parts *= 4) {
    const int64_t bytes = ask.rows * parts * PartialBytes(shape);
    if (parts > least && bytes > kPartialsBytesMax) break;
    found.push_back(static_cast<int>(parts));
  }
  return found;
}

absl::Status LaunchAll(const PathShape& shape, const LaunchArgs& launch) {
  // Even parts; fewer of them where the trees run out earlier.
  const int trees = (shape.trees + launch.variant - 1) / launch.variant;
  const int used = (shape.trees + trees - 1) / trees;
  return SumParts(shape, launch, used,
                  [&](const RowArgs& rows, float* partials) {
                    const Parts parts = {used, trees, partials};
                    return ByType(shape.type, [&](auto w) {
                      return Dispatch<decltype(w)>(shape.args, rows, parts,
                                                   StreamOf(launch));
                    });
                  });
}

}  // namespace

DevicePathKernel PathWalk() {
  return {"path_walk", {}, WarpHoldsRow, Variants, TreeSumsNeed, LaunchAll};
}

}  // namespace fff::engine::cuda

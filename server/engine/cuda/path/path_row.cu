// path_row: one block per row and tree, for few rows: what counts is the time
// from one level to the next.
//
//   Shapes as path_walk.cu; Y rows of a path must fit shared memory.
//
// Seven warps hold the row of x each and evaluate the seven nodes of a round of
// three levels at once (rounds.cuh), in the order of sums that path_walk has,
// with one barrier per round. The Y rows of visited nodes are copied to shared
// memory asynchronously meanwhile and added up at the end.
// Weights read per row and tree: 7 * levels / 3 * x_pitch + levels * y_pitch
// elements. What bounds it is latency: a round is one trip to the second-level
// cache, a dot product, 5 shuffles and a barrier.
// Benchmark case: path-768-l12, an H100: 1 row 6.9 us fp32, 6.1 us bf16; 128
// rows 8.7 and 7.3 us (a launch within a CUDA graph alone takes about 2 us).
// Dropped, an H100, one row, 12 levels of 768: a level at a time, with children
// and grandchildren loaded ahead. Into registers 8.8 us, since choosing among
// loads that have not arrived waits for them. Into shared memory 8.9 us
// (shuffles and barriers of twelve levels).
#include <cuda_pipeline_primitives.h>

#include "server/engine/cuda/path/path_sums.h"
#include "server/engine/cuda/rounds.cuh"
#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kWarps = kRoundNodes;
constexpr int kThreads = kWarps * kWarp;
// Above it one block per row only repeats what one warp per row does with less.
constexpr int64_t kBlockRowsMax = 2048;

// The z of the round's node that belongs to this warp.
template <class W, int kChunks>
__device__ inline float EvaluateNode(const RowInLanes<W, kChunks, false>& x,
                                     const PathArgs& layer, int64_t root,
                                     int node, int lane) {
  const char* const first =
      static_cast<const char*>(layer.x_weights) +
      (root * layer.x_pitch + lane * kVector<W>)*int64_t{sizeof(W)};
  const float bias =
      layer.bias == nullptr ? 0.0f : __ldg(layer.bias + root + node);
  return WarpSum(x.PartialDot(
             RowAt(first, node, layer.x_pitch * unsigned{sizeof(W)}),
             layer.x_pitch, lane)) +
         bias;
}

template <class W, int kChunks>
__global__ void __launch_bounds__(kThreads)
    PathRowKernel(const PathArgs layer, const RowArgs rows, float* partials) {
  extern __shared__ uint4 staged[];  // [levels, y_pitch] of W
  __shared__ alignas(16) float z[2][kRoundNodes];
  __shared__ float activations[kLevelsMax];
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int64_t row = blockIdx.x / layer.trees;
  const int tree = blockIdx.x % layer.trees;
  const int64_t root = tree * ((int64_t{1} << layer.levels) - 1);
  const int y_vectors = layer.y_pitch / kVector<W>;
  const char* const y_rows = static_cast<const char*>(layer.y_weights) +
                             root * layer.y_pitch * int64_t{sizeof(W)};
  RowInLanes<W, kChunks, false> x;
  x.Load(RowOf<W>(rows.x, row, layer.x_pitch), layer.x_pitch, lane);
  int top = 1;
  float z_of_lane = 0;
  for (int level = 0, round = 0; level < layer.levels;
       level += kRoundLevels, ++round) {
    float* const round_z = z[round % 2];
    if (warp > 0 && level + 31 - __clz(warp) < layer.levels) {
      const float value =
          EvaluateNode(x, layer, root, NodeOfRound(top, warp) - 1, lane);
      if (lane == 0) round_z[warp] = value;
    }
    __syncthreads();
    const int bottom = WalkRound(round_z, top, level, layer.levels,
                                 layer.tie_left, lane, z_of_lane);
    const int walked = min(kRoundLevels, layer.levels - level);
    for (int i = 0; i < walked; ++i) {
      const char* const y = RowAt(y_rows, (bottom >> (walked - i)) - 1,
                                  layer.y_pitch * unsigned{sizeof(W)});
      for (int j = threadIdx.x; j < y_vectors; j += kThreads) {
        __pipeline_memcpy_async(&staged[(level + i) * y_vectors + j],
                                y + 16 * j, 16);
      }
    }
    __pipeline_commit();
    top = bottom;
  }
  // The decision on the last level leads nowhere.
  const int node = top / 2 - 1;

  if (warp == 0) {
    const int64_t path = row * layer.trees + tree;
    if (lane == 0) {
      rows.leaves[path] = node - ((1 << (layer.levels - 1)) - 1);
    }
    if (lane < layer.levels) {
      activations[lane] = Activate(layer.activation, z_of_lane);
      if (rows.margins != nullptr) {
        rows.margins[path * layer.levels + lane] = z_of_lane;
      }
    }
  }
  __pipeline_wait_prior(0);
  __syncthreads();
  for (int i = threadIdx.x; i < y_vectors; i += blockDim.x) {
    Vector<W> total = {};
#pragma unroll 4
    for (int level = 0; level < layer.levels; ++level) {
      AddScaled(activations[level], Widen<W>(staged[level * y_vectors + i]),
                total);
    }
    const int first = i * kVector<W>;
    StoreTotal(partials, rows.y, blockIdx.x, layer, first, total);
  }
}

int64_t SharedBytes(const PathShape& shape) {
  return shape.args.levels * shape.y_bytes();
}

template <class W, int kChunks>
cudaError_t Launch(const PathShape& shape, const RowArgs& rows, float* partials,
                   cudaStream_t stream) {
  // Above 48 KiB a kernel must be allowed its shared memory; setting it costs
  // less than asking whether it is set.
  const cudaError_t allowed = cudaFuncSetAttribute(
      PathRowKernel<W, kChunks>, cudaFuncAttributeMaxDynamicSharedMemorySize,
      shape.device.shared_bytes_max);
  if (allowed != cudaSuccess) {
    cudaGetLastError();  // it is this launch's error, not the next one's
    return allowed;
  }
  const unsigned blocks =
      static_cast<unsigned>(rows.rows) * static_cast<unsigned>(shape.trees);
  PathRowKernel<W, kChunks>
      <<<blocks, kThreads, static_cast<size_t>(SharedBytes(shape)), stream>>>(
          shape.args, rows, partials);
  return cudaGetLastError();
}

bool Supports(const PathShape& shape) {
  return WarpHoldsRow(shape) &&
         SharedBytes(shape) <= shape.device.shared_bytes_max;
}

std::vector<int> Variants(const PathShape& shape, const Ask& ask) {
  const bool few = ask.rows <= kBlockRowsMax &&
                   ask.rows * TreeSumsBytes(shape) <= kPartialsBytesMax;
  return OneIf(few || ask.all);
}

absl::Status LaunchAll(const PathShape& shape, const LaunchArgs& launch) {
  return SumParts(shape, launch, shape.trees,
                  [&](const RowArgs& rows, float* partials) {
                    return ByType(shape.type, [&](auto w) {
                      using W = decltype(w);
                      return ByChunks<1, 2, 4, 6, 8, 16>(
                          ChunksOf<W>(shape.x_pitch), [&](auto held) {
                            return Launch<W, decltype(held)::value>(
                                shape, rows, partials, StreamOf(launch));
                          });
                    });
                  });
}

}  // namespace

DevicePathKernel PathRow() {
  return {"path_row", {}, Supports, Variants, TreeSumsNeed, LaunchAll};
}

}  // namespace fff::engine::cuda

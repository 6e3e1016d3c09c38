// path_wide: a block, or a cluster of blocks, per row and tree; any width.
//
//   Shapes as path_walk.cu, no limit on the pitches.
//
// The columns of x and of y are divided among the threads of all blocks of a
// cluster. A round of three levels (rounds.cuh) is the dot products of its
// seven nodes, their sums over the block and, in a cluster, an exchange of the
// blocks' sums through distributed shared memory; each block then knows all z.
// The sum's order depends on the widths alone, so a row takes the same way in
// every batch.
// Weights read per row and tree: 7 * levels / 3 * x_pitch + levels * y_pitch
// elements.
// Benchmark case: sap-16384-d14 (clusters of 8 blocks), an H100: 1 row 21.1 us,
// 16 rows 28.6 us.
// Dropped, an H100, one row: a level at a time, the children's weights called
// into the second-level cache meanwhile, 30.4 us: each level waited for device
// memory and for the cluster.
#include <cooperative_groups.h>

#include "server/engine/cuda/path/path_combine.cuh"
#include "server/engine/cuda/path/path_sums.h"
#include "server/engine/cuda/rounds.cuh"
#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {
namespace {

namespace cg = cooperative_groups;

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kClusterMax = 8;

// This thread's share of columns: `first`, then every `step`.
struct Share {
  int first;
  int step;
};

// This thread's parts of the products of x with the round's nodes that lie on
// levels below `levels`.
template <class W>
__device__ inline void RoundDots(const W* weights, const W* x, int pitch,
                                 const Share& share, int top, int levels,
                                 float (&sum)[kRoundNodes]) {
#pragma unroll
  for (float& value : sum) value = 0;
  for (int i = share.first; i < pitch; i += share.step) {
    uint4 raw[kRoundNodes];
#pragma unroll
    for (int which = 1; which < kRoundNodes; ++which) {
      const int level = which < 2 ? 0 : which < 4 ? 1 : 2;
      const int64_t node = (top << level) + which - (1 << level) - 1;
      if (level < levels) raw[which] = LoadRaw(weights + node * pitch + i);
    }
    const Vector<W> row = Widen<W>(LoadRaw(x + i));
#pragma unroll
    for (int which = 1; which < kRoundNodes; ++which) {
      const int level = which < 2 ? 0 : which < 4 ? 1 : 2;
      if (level < levels) sum[which] += Dot(Widen<W>(raw[which]), row);
    }
  }
}

struct Shared {
  float warp_sums[kWarps][kRoundNodes];
  float block_sums[2][kClusterMax][kRoundNodes];
  float z[2][kRoundNodes];
};

// The round's z in shared.z[parity]: sums over the block's threads, then over
// the cluster's blocks, first block first.
template <bool kCluster>
__device__ inline void SumRound(const float (&sum)[kRoundNodes], int parity,
                                Shared& shared) {
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int which = 1; which < kRoundNodes; ++which) {
    const float value = WarpSum(sum[which]);
    if (lane == which) shared.warp_sums[warp][which] = value;
  }
  __syncthreads();
  if (threadIdx.x < kRoundNodes) {
    float value = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      value += shared.warp_sums[w][threadIdx.x];
    }
    shared.z[parity][threadIdx.x] = value;
  }
  __syncthreads();
#if __CUDA_ARCH__ >= 900
  if constexpr (kCluster) {
    cg::cluster_group cluster = cg::this_cluster();
    const unsigned to = threadIdx.x / kRoundNodes;
    const unsigned which = threadIdx.x % kRoundNodes;
    if (to < cluster.num_blocks()) {
      float* const there =
          &shared.block_sums[parity][cluster.block_rank()][which];
      *cluster.map_shared_rank(there, to) = shared.z[parity][which];
    }
    cluster.sync();
    if (threadIdx.x < kRoundNodes) {
      float value = 0;
      for (unsigned i = 0; i < cluster.num_blocks(); ++i) {
        value += shared.block_sums[parity][i][threadIdx.x];
      }
      shared.z[parity][threadIdx.x] = value;
    }
    __syncthreads();
  }
#endif
}

template <class W, bool kCluster>
__global__ void __launch_bounds__(kThreads)
    PathWideKernel(const PathArgs layer, const RowArgs rows, const int cluster,
                   float* partials) {
  __shared__ Shared shared;
  __shared__ float activations[kLevelsMax];
  const int rank = blockIdx.x % cluster;
  const int64_t path = blockIdx.x / cluster;  // row * trees + tree
  const int64_t row = path / layer.trees;
  const int64_t root = path % layer.trees * ((int64_t{1} << layer.levels) - 1);
  const int lane = threadIdx.x % kWarp;
  const Share share = {
      (rank * kThreads + static_cast<int>(threadIdx.x)) * kVector<W>,
      cluster * kThreads * kVector<W>};
#if __CUDA_ARCH__ >= 900
  // Every block must have begun before another writes to its shared memory.
  if constexpr (kCluster) cg::this_cluster().sync();
#endif
  int top = 1;
  float z_of_lane = 0;
  for (int level = 0, round = 0; level < layer.levels;
       level += kRoundLevels, ++round) {
    float sum[kRoundNodes];
    RoundDots(static_cast<const W*>(layer.x_weights) + root * layer.x_pitch,
              RowOf<W>(rows.x, row, layer.x_pitch), layer.x_pitch, share, top,
              layer.levels - level, sum);
    SumRound<kCluster>(sum, round % 2, shared);
    float z[kRoundNodes] = {};
#pragma unroll
    for (int which = 1; which < kRoundNodes; ++which) {
      z[which] = shared.z[round % 2][which];
      const int depth = which < 2 ? 0 : which < 4 ? 1 : 2;
      if (layer.bias != nullptr && level + depth < layer.levels) {
        z[which] += __ldg(layer.bias + root + NodeOfRound(top, which) - 1);
      }
    }
    top =
        WalkRound(z, top, level, layer.levels, layer.tie_left, lane, z_of_lane);
  }
  const int leaf = top / 2 - (1 << (layer.levels - 1));
  if (threadIdx.x < layer.levels) {
    activations[lane] = Activate(layer.activation, z_of_lane);
    if (rank == 0 && rows.margins != nullptr) {
      rows.margins[path * layer.levels + lane] = z_of_lane;
    }
  }
  if (rank == 0 && threadIdx.x == 0) rows.leaves[path] = leaf;
  __syncthreads();
  const W* y_weights =
      static_cast<const W*>(layer.y_weights) + root * layer.y_pitch;
  for (int i = share.first; i < layer.y_pitch; i += share.step) {
    Vector<W> total = {};
#pragma unroll 8
    for (int level = 0; level < layer.levels; ++level) {
      const int64_t visited = NodeOnPath(leaf, level, layer.levels);
      AddScaled(activations[level],
                Widen<W>(LoadRaw(y_weights + visited * layer.y_pitch + i)),
                total);
    }
    StoreTotal(partials, rows.y, path, layer, i, total);
  }
  // No block may end while another still writes to its shared memory.
#if __CUDA_ARCH__ >= 900
  if constexpr (kCluster) cg::this_cluster().sync();
#endif
}

template <class W>
cudaError_t Launch(const PathArgs& layer, const RowArgs& rows, int cluster,
                   float* partials, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(rows.rows) *
                        static_cast<unsigned>(layer.trees * cluster));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(cluster);
  attribute.val.clusterDim.y = 1;
  attribute.val.clusterDim.z = 1;
  if (cluster == 1) {
    return cudaLaunchKernelEx(&config, PathWideKernel<W, false>, layer, rows,
                              cluster, partials);
  }
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, PathWideKernel<W, true>, layer, rows,
                            cluster, partials);
}

bool Supports(const PathShape&) { return true; }

// Only where nothing else can: another order of sums than the others', where x
// is not in registers. Clusters pay when one block would have to read tens of
// KiB per level.
std::vector<int> Variants(const PathShape& shape, const Ask& ask) {
  if (!ask.all) return {};
  const int64_t width = std::max(shape.input_width, shape.output_width);
  if (!shape.device.has_clusters) return {1};
  return {width >= 8192 ? kClusterMax : width >= 4096 ? 2 : 1};
}

absl::Status LaunchAll(const PathShape& shape, const LaunchArgs& launch) {
  return SumParts(
      shape, launch, shape.trees, [&](const RowArgs& rows, float* partials) {
        return ByType(shape.type, [&](auto w) {
          return Launch<decltype(w)>(shape.args, rows, launch.variant, partials,
                                     StreamOf(launch));
        });
      });
}

}  // namespace

DevicePathKernel PathWide() {
  return {"path_wide", kOwnSums, Supports, Variants, TreeSumsNeed, LaunchAll};
}

}  // namespace fff::engine::cuda

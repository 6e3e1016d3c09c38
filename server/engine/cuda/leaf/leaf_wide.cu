// leaf_wide: a block, or a cluster of blocks, per row; for few rows and leaves
// so large that one multiprocessor would be long reading them.
//
//   Shapes as leaf_walk.cu.
//
// Every block of the cluster descends by itself (leaf_descent.cuh). Then the
// blocks divide the leaf's neurons, tell each other the activations through
// distributed shared memory, and divide the output columns. The threads that a
// block has beyond its columns divide the neurons, and their sums are added up
// in order. That order differs from leaf_row's, so outputs do, by roundings.
// Weights read per row: leaf_width * (x_pitch + y_pitch) elements, and 7 / 3 *
// depth * x_pitch per block.
// Benchmark case: leaf-768-128-768-d4, clusters of 8 blocks, an H100: 1 row 9.8
// us fp32 and 8.6 us bf16 (leaf_row 21.5 and 18.0), 16 rows 10.7 and 9.3 us;
// from 128 rows on leaf_row is faster.
#include <cooperative_groups.h>

#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/leaf/leaf_descent.cuh"

namespace fff::engine::cuda {
namespace {

namespace cg = cooperative_groups;

constexpr int kWarps = kDescentWarps;
constexpr int kThreads = kWarps * kWarp;
constexpr int kTogether = 2;         // neurons per warp
constexpr int kLeafWidthMax = 8192;  // 32 KiB of activations
constexpr int kClusterMax = 8;
constexpr int64_t kClusterRowsMax = 256;
constexpr int64_t kClusterBytesMin = int64_t{32} << 10;

// `count` things among `parts`: the first and the end of one's share.
struct Share {
  int first;
  int end;
};
__device__ inline Share ShareOf(int count, int parts, int which) {
  const int each = (count + parts - 1) / parts;
  return {min(count, which * each), min(count, (which + 1) * each)};
}

// The activations of the share into every block's `hidden`.
template <class W, bool kCluster>
__device__ inline void EvaluateNeurons(const LeafArgs& layer, const W* x,
                                       int64_t leaf, const Share& share,
                                       int cluster, float* hidden) {
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int64_t neurons = leaf * layer.leaf_width;
  for (int j = share.first + warp * kTogether; j < share.end;
       j += kWarps * kTogether) {
    const W* w[kTogether];
    float sum[kTogether] = {};
#pragma unroll
    for (int t = 0; t < kTogether; ++t) {
      w[t] = RowOf<W>(layer.w1, neurons + min(j + t, share.end - 1),
                      layer.x_pitch);
    }
    PartialDots(w, x, layer.x_pitch, lane, sum);
#pragma unroll
    for (int t = 0; t < kTogether; ++t) {
      const float z = WarpSum(sum[t]);
      if (j + t >= share.end) break;
      const float value =
          Activate(layer.activation, z + __ldg(layer.b1 + neurons + j + t));
#if __CUDA_ARCH__ >= 900
      if constexpr (kCluster) {
        if (lane < cluster) {
          *cg::this_cluster().map_shared_rank(hidden + j + t, lane) = value;
        }
        continue;
      }
#endif
      if (lane == 0) hidden[j + t] = value;
    }
  }
}

template <class W, bool kCluster>
__global__ void __launch_bounds__(kThreads)
    LeafWideKernel(const LeafArgs layer, const RowArgs rows,
                   const int cluster) {
  extern __shared__ float hidden[];  // [leaf_width]
  __shared__ Vector<W> partial[kThreads];
  const int rank = static_cast<int>(blockIdx.x) % cluster;
  const int64_t row = blockIdx.x / cluster;
#if __CUDA_ARCH__ >= 900
  // Every block must have begun before another writes to its shared memory.
  if constexpr (kCluster) cg::this_cluster().sync();
#endif
  const int64_t leaf = DescendTogether<W>(layer, rows, row, rank == 0);
  EvaluateNeurons<W, kCluster>(layer, RowOf<W>(rows.x, row, layer.x_pitch),
                               leaf, ShareOf(layer.leaf_width, cluster, rank),
                               cluster, hidden);
#if __CUDA_ARCH__ >= 900
  if constexpr (kCluster) cg::this_cluster().sync();
#endif
  __syncthreads();

  const W* const w2 =
      RowOf<W>(layer.w2, leaf * layer.leaf_width, layer.y_pitch);
  W* const y = RowOf<W>(rows.y, row, layer.y_pitch);
  const Share vectors = ShareOf(layer.y_pitch / kVector<W>, cluster, rank);
  for (int first = vectors.first; first < vectors.end; first += kThreads) {
    const int together = min(kThreads, vectors.end - first);
    const int groups = kThreads / together;
    const int group = static_cast<int>(threadIdx.x) / together;
    const int column =
        (first + static_cast<int>(threadIdx.x) % together) * kVector<W>;
    Vector<W> total = {};
    if (group < groups) {
#pragma unroll 8
      for (int j = group; j < layer.leaf_width; j += groups) {
        AddScaled(hidden[j],
                  Widen<W>(LoadRaw(w2 + int64_t{j} * layer.y_pitch + column)),
                  total);
      }
    }
    partial[threadIdx.x] = total;
    __syncthreads();
    if (group == 0) {
      for (int g = 1; g < groups; ++g) {
        AddScaled(1.0f, partial[g * together + threadIdx.x], total);
      }
      if (layer.b2 != nullptr) {
#pragma unroll
        for (int k = 0; k < kVector<W>; ++k) {
          total.v[k] += __ldg(layer.b2 + leaf * layer.y_pitch + column + k);
        }
      }
      StoreRow(y + column, total, layer.output_width - column);
    }
    __syncthreads();
  }
}

template <class W>
cudaError_t Launch(const LeafArgs& layer, const RowArgs& rows, int cluster,
                   cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim =
      dim3(static_cast<unsigned>(rows.rows) * static_cast<unsigned>(cluster));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes =
      static_cast<size_t>(layer.leaf_width) * sizeof(float);
  config.stream = stream;
  if (cluster == 1) {
    return cudaLaunchKernelEx(&config, LeafWideKernel<W, false>, layer, rows,
                              cluster);
  }
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(cluster);
  attribute.val.clusterDim.y = 1;
  attribute.val.clusterDim.z = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, LeafWideKernel<W, true>, layer, rows,
                            cluster);
}

bool Supports(const LeafShape& shape) {
  return shape.args.leaf_width <= kLeafWidthMax;
}

// A cluster of blocks per row pays while there are few, and a leaf that takes
// one block long to read.
std::vector<int> Variants(const LeafShape& shape, const Ask& ask) {
  const bool large =
      shape.args.leaf_width * (shape.x_bytes() + shape.y_bytes()) >=
      kClusterBytesMin;
  if (!ask.all && !(large && ask.rows <= kClusterRowsMax)) return {};
  return {shape.device.has_clusters ? kClusterMax : 1};
}

absl::Status LaunchAll(const LeafShape& shape, const LaunchArgs& launch) {
  return ByType(shape.type, [&](auto w) {
    return Launch<decltype(w)>(shape.args, launch.rows, launch.variant,
                               StreamOf(launch));
  });
}

}  // namespace

DeviceLeafKernel LeafWide() {
  return {"leaf_wide", kOwnSums, Supports, Variants, NoScratch, LaunchAll};
}

}  // namespace fff::engine::cuda

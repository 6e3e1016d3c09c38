// leaf_row: one block per row, for few rows and for wide leaves; any width.
//
//   Shapes as leaf_walk.cu.
//
// Seven of the eight warps evaluate the seven nodes of a round of three levels
// at once (rounds.cuh). Then all warps divide the hidden neurons, four at a
// time, and the threads divide the output columns.
// Weights read per row: (7 / 3 * depth + leaf_width) * x_pitch + leaf_width *
// y_pitch elements.
// Benchmark case: leaf-768-32-768-d12, an H100: 1 row 16.8 us fp32, 12.2 us
// bf16; 256 rows 31.0 and 20.9 us. Dropped: every warp descending by
// itself, 22.7 us for 1 row.
#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/leaf/leaf_descent.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kWarps = kDescentWarps;
constexpr int kTogether = 4;         // hidden neurons per warp
constexpr int kLeafWidthMax = 8192;  // 32 KiB of activations

template <class W>
__global__ void __launch_bounds__(kWarps* kWarp)
    LeafRowKernel(const LeafArgs layer, const RowArgs rows) {
  extern __shared__ float hidden[];  // [leaf_width]
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int64_t row = blockIdx.x;
  const W* x = RowOf<W>(rows.x, row, layer.x_pitch);
  const int64_t leaf = DescendTogether<W>(layer, rows, row, true);
  const int64_t first = leaf * layer.leaf_width;
  const W* w1 = static_cast<const W*>(layer.w1) + first * layer.x_pitch;
  for (int j = warp * kTogether; j < layer.leaf_width;
       j += kWarps * kTogether) {
    const W* w[kTogether];
    float sum[kTogether] = {};
#pragma unroll
    for (int t = 0; t < kTogether; ++t) {
      const int64_t neuron = min(j + t, layer.leaf_width - 1);
      w[t] = w1 + neuron * layer.x_pitch;
    }
    PartialDots(w, x, layer.x_pitch, lane, sum);
#pragma unroll
    for (int t = 0; t < kTogether; ++t) {
      const float z = WarpSum(sum[t]);
      if (lane == 0 && j + t < layer.leaf_width) {
        hidden[j + t] =
            Activate(layer.activation, z + __ldg(layer.b1 + first + j + t));
      }
    }
  }
  __syncthreads();
  const W* w2 = static_cast<const W*>(layer.w2) + first * layer.y_pitch;
  W* y = RowOf<W>(rows.y, row, layer.y_pitch);
  for (int i = threadIdx.x * kVector<W>; i < layer.y_pitch;
       i += kWarps * kWarp * kVector<W>) {
    Vector<W> total = {};
#pragma unroll 8
    for (int j = 0; j < layer.leaf_width; ++j) {
      AddScaled(hidden[j],
                Widen<W>(LoadRaw(w2 + int64_t{j} * layer.y_pitch + i)), total);
    }
    if (layer.b2 != nullptr) {
#pragma unroll
      for (int k = 0; k < kVector<W>; ++k) {
        total.v[k] += __ldg(layer.b2 + leaf * layer.y_pitch + i + k);
      }
    }
    StoreRow(y + i, total, layer.output_width - i);
  }
}

// The unrolled loop over the activations reads them 16 bytes at a time.
int SharedBytes(int leaf_width) {
  return (leaf_width + 7) / 8 * 8 * static_cast<int>(sizeof(float));
}

bool Supports(const LeafShape& shape) {
  return shape.args.leaf_width <= kLeafWidthMax;
}

absl::Status LaunchAll(const LeafShape& shape, const LaunchArgs& launch) {
  const auto blocks = static_cast<unsigned>(launch.rows.rows);
  const auto bytes = static_cast<size_t>(SharedBytes(shape.args.leaf_width));
  return ByType(shape.type, [&](auto w) {
    LeafRowKernel<decltype(w)>
        <<<blocks, kWarps * kWarp, bytes, StreamOf(launch)>>>(shape.args,
                                                              launch.rows);
    return cudaGetLastError();
  });
}

}  // namespace

DeviceLeafKernel LeafRow() {
  return {"leaf_row", {}, Supports, OneVariant, NoScratch, LaunchAll};
}

}  // namespace fff::engine::cuda

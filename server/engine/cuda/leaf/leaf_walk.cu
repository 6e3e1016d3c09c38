// leaf_walk: one warp per row, for narrow leaves and many rows.
//
//   x [rows, x_pitch] -> y [rows, y_pitch] through one of 2^depth leaves;
//   w1 is held transposed, a row of x_pitch elements a hidden neuron.
//
// The warp holds its row of x in registers, descends as path_walk does, then
// takes eight hidden neurons at a time: their products' sums over the lanes are
// formed together (9 exchanges instead of 40). Activations go through shared
// memory; the lanes divide the output columns.
// Weights per row: (depth + leaf_width) * x_pitch + leaf_width * y_pitch
// elements from the caches, one multiply-add each. Benchmark cases:
// leaf-784-8-10-d4 and its relatives; 2,048 rows on an H100 take 13.7 us
// fp32, 10.4 us bf16.
#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kBlockWarps = 4;
constexpr int kTogether = 8;  // hidden neurons
constexpr int kLeafWidthMax = 128;

// Sums of kTogether values over the warp; lane i gets that of value i / 4.
__device__ inline float SumTogether(float (&value)[kTogether], int lane) {
#pragma unroll
  for (int half = kTogether / 2, offset = kWarp / 2; half > 0;
       half /= 2, offset /= 2) {
    const bool upper = (lane & offset) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float send = upper ? value[i] : value[i + half];
      const float keep = upper ? value[i + half] : value[i];
      value[i] = keep + __shfl_xor_sync(kAllLanes, send, offset);
    }
  }
  float sum = value[0];
  sum += __shfl_xor_sync(kAllLanes, sum, 2);
  return sum + __shfl_xor_sync(kAllLanes, sum, 1);
}

template <class W, int kChunks>
__device__ inline void HiddenNeurons(const LeafArgs& layer,
                                     const RowInLanes<W, kChunks, false>& x,
                                     int64_t leaf, int lane, float* hidden) {
  const int64_t first = leaf * layer.leaf_width;
  const W* const w1 = static_cast<const W*>(layer.w1) + first * layer.x_pitch +
                      lane * kVector<W>;
  const unsigned row_bytes = static_cast<unsigned>(layer.x_pitch) * sizeof(W);
  for (int j = 0; j < layer.leaf_width; j += kTogether) {
    float value[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int neuron = min(j + i, layer.leaf_width - 1);
      value[i] = x.PartialDot(
          RowAt(reinterpret_cast<const char*>(w1), neuron, row_bytes),
          layer.x_pitch, lane);
    }
    const float sum = SumTogether(value, lane);
    const int neuron = j + lane / 4;
    if (lane % 4 == 0 && neuron < layer.leaf_width) {
      hidden[neuron] =
          Activate(layer.activation, sum + __ldg(layer.b1 + first + neuron));
    }
  }
  __syncwarp();
}

template <class W>
__device__ inline void LeafOutputs(const LeafArgs& layer, const float* hidden,
                                   int64_t leaf, int lane, W* y) {
  const W* w2 =
      static_cast<const W*>(layer.w2) + leaf * layer.leaf_width * layer.y_pitch;
  for (int i = lane * kVector<W>; i < layer.y_pitch; i += kWarp * kVector<W>) {
    Vector<W> sum = {};
#pragma unroll 4
    for (int j = 0; j < layer.leaf_width; ++j) {
      AddScaled(hidden[j],
                Widen<W>(LoadRaw(w2 + int64_t{j} * layer.y_pitch + i)), sum);
    }
    if (layer.b2 != nullptr) {
#pragma unroll
      for (int k = 0; k < kVector<W>; ++k) {
        sum.v[k] += __ldg(layer.b2 + leaf * layer.y_pitch + i + k);
      }
    }
    StoreRow(y + i, sum, layer.output_width - i);
  }
}

template <class W, int kChunks>
__global__ void __launch_bounds__(kBlockWarps* kWarp)
    LeafWalkKernel(const LeafArgs layer, const RowArgs rows) {
  __shared__ float hidden[kBlockWarps][kLeafWidthMax];
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kBlockWarps + warp;
  if (row >= rows.rows) return;
  RowInLanes<W, kChunks, false> x;
  x.Load(RowOf<W>(rows.x, row, layer.x_pitch), layer.x_pitch, lane);
  Descent descent;
  Descend(x, static_cast<const W*>(layer.node_weights), layer.node_biases,
          layer.x_pitch, 0, layer.depth, layer.tie_left, lane, descent);
  const int leaf = descent.node - ((1 << layer.depth) - 1);
  if (lane == 0) rows.leaves[row] = leaf;
  if (lane < layer.depth && rows.margins != nullptr) {
    rows.margins[row * layer.depth + lane] = descent.z;
  }
  HiddenNeurons(layer, x, leaf, lane, hidden[warp]);
  LeafOutputs<W>(layer, hidden[warp], leaf, lane,
                 RowOf<W>(rows.y, row, layer.y_pitch));
}

template <class W, int kChunks>
cudaError_t Launch(const LeafShape& shape, const LaunchArgs& launch) {
  LeafWalkKernel<W, kChunks>
      <<<BlocksFor(launch.rows.rows, kBlockWarps), kBlockWarps * kWarp, 0,
         StreamOf(launch)>>>(shape.args, launch.rows);
  return cudaGetLastError();
}

bool Supports(const LeafShape& shape) {
  return shape.x_pitch <= 1024 && shape.args.leaf_width <= kLeafWidthMax;
}

absl::Status LaunchAll(const LeafShape& shape, const LaunchArgs& launch) {
  return ByType(shape.type, [&](auto w) {
    using W = decltype(w);
    const int chunks = ChunksOf<W>(shape.x_pitch);
    const auto start = [&](auto held) {
      return Launch<W, decltype(held)::value>(shape, launch);
    };
    if constexpr (kVector<W> == 4) {
      return ByChunks<1, 2, 4, 6, 8>(chunks, start);
    } else {
      return ByChunks<1, 2, 4>(chunks, start);
    }
  });
}

}  // namespace

DeviceLeafKernel LeafWalk() {
  return {"leaf_walk", {}, Supports, OneVariant, NoScratch, LaunchAll};
}

}  // namespace fff::engine::cuda

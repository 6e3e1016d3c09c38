// The small kernels between layers: sums of partial rows, activations, layer
// norm, blends. Each reads and writes its rows once; bound by memory.
#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/row_math.cuh"
#include "server/engine/cuda/rows/row_launches.h"

namespace fff::engine::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void SumPartialsKernel(const float* partials, T* y, int64_t count,
                                  int parts, int pitch) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const float* from = partials + i / pitch * parts * pitch + i % pitch;
  float sum = 0;
#pragma unroll 8
  for (int part = 0; part < parts; ++part) {
    sum += from[int64_t{part} * pitch];
  }
  y[i] = static_cast<T>(sum);
}

template <class T>
__global__ void ActivateKernel(Activation activation, const T* x, T* y,
                               int64_t count, int width, int pitch) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const bool inside = i % pitch < width;
  y[i] = static_cast<T>(inside ? Activate(activation, static_cast<float>(x[i]))
                               : 0.0f);
}

// Rows of `width` numbers in rows of `pitch`; the rest becomes 0.
struct RowWidths {
  int rows;
  int width;
  int pitch;
};

// One warp per row. Two more passes over a row that the first left in the
// cache.
template <class T>
__global__ void LayerNormKernel(const T* x, T* y, const LayerNormArgs norm,
                                const RowWidths shape) {
  const int64_t row =
      int64_t{blockIdx.x} * (kThreads / kWarp) + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (row >= shape.rows) return;
  const T* from = x + row * shape.pitch;
  float sum = 0;
  for (int i = lane; norm.centred && i < shape.width; i += kWarp) {
    sum += static_cast<float>(from[i]);
  }
  const float mean = WarpSum(sum) / static_cast<float>(shape.width);
  float squares = 0;
  for (int i = lane; i < shape.width; i += kWarp) {
    const float centred = static_cast<float>(from[i]) - mean;
    squares = fmaf(centred, centred, squares);
  }
  const float variance = WarpSum(squares) / static_cast<float>(shape.width);
  const float scale = 1 / sqrtf(variance + norm.epsilon);
  for (int i = lane; i < shape.pitch; i += kWarp) {
    float value = 0;
    if (i < shape.width) {
      value = (static_cast<float>(from[i]) - mean) * scale * norm.weight[i];
      if (norm.bias != nullptr) value += norm.bias[i];
    }
    y[row * shape.pitch + i] = static_cast<T>(value);
  }
}

template <class T>
__global__ void BlendKernel(T* y, const T* other, float share, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  y[i] = static_cast<T>(share * static_cast<float>(y[i]) +
                        (1 - share) * static_cast<float>(other[i]));
}

template <RowOp kOp>
bool Supports(const RowsShape& shape) {
  return shape.op == kOp;
}

int64_t CountOf(const LayerShape& shape, const RowArgs& rows) {
  return int64_t{rows.rows} * shape.y_pitch;
}

absl::Status LaunchActivate(const RowsShape& shape, const LaunchArgs& launch) {
  return ActivateRows(shape, shape.activation, launch.rows, launch.stream);
}

absl::Status LaunchLayerNorm(const RowsShape& shape, const LaunchArgs& launch) {
  const RowWidths widths = {
      launch.rows.rows, static_cast<int>(shape.output_width), shape.y_pitch};
  const unsigned blocks = BlocksFor(int64_t{widths.rows} * kWarp, kThreads);
  return ByType(shape.type, [&](auto t) {
    using T = decltype(t);
    LayerNormKernel<<<blocks, kThreads, 0, StreamOf(launch)>>>(
        static_cast<const T*>(launch.rows.x), static_cast<T*>(launch.rows.y),
        shape.norm, widths);
    return cudaGetLastError();
  });
}

absl::Status LaunchBlend(const RowsShape& shape, const LaunchArgs& launch) {
  const int64_t count = CountOf(shape, launch.rows);
  return ByType(shape.type, [&](auto t) {
    using T = decltype(t);
    BlendKernel<<<BlocksFor(count, kThreads), kThreads, 0, StreamOf(launch)>>>(
        static_cast<T*>(launch.rows.y), static_cast<const T*>(launch.rows.x),
        shape.share, count);
    return cudaGetLastError();
  });
}

}  // namespace

absl::Status SumPartials(const LayerShape& shape, const float* partials,
                         const RowArgs& rows, int parts, void* stream) {
  const int64_t count = CountOf(shape, rows);
  return ByType(shape.type, [&](auto t) {
    SumPartialsKernel<<<BlocksFor(count, kThreads), kThreads, 0,
                        static_cast<cudaStream_t>(stream)>>>(
        partials, static_cast<decltype(t)*>(rows.y), count, parts,
        shape.y_pitch);
    return cudaGetLastError();
  });
}

absl::Status ActivateRows(const LayerShape& shape, Activation activation,
                          const RowArgs& rows, void* stream) {
  const int64_t count = CountOf(shape, rows);
  return ByType(shape.type, [&](auto t) {
    using T = decltype(t);
    ActivateKernel<<<BlocksFor(count, kThreads), kThreads, 0,
                     static_cast<cudaStream_t>(stream)>>>(
        activation, static_cast<const T*>(rows.x), static_cast<T*>(rows.y),
        count, static_cast<int>(shape.output_width), shape.y_pitch);
    return cudaGetLastError();
  });
}

DeviceRowsKernel ActivateEach() {
  return {"activate_rows", {},        Supports<RowOp::kActivate>,
          OneVariant,      NoScratch, LaunchActivate};
}
DeviceRowsKernel LayerNormEach() {
  return {"layer_norm_rows", {},        Supports<RowOp::kLayerNorm>,
          OneVariant,        NoScratch, LaunchLayerNorm};
}
DeviceRowsKernel BlendEach() {
  return {"blend",    {},        Supports<RowOp::kBlend>,
          OneVariant, NoScratch, LaunchBlend};
}

}  // namespace fff::engine::cuda

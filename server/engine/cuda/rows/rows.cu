// The small kernels between layers: sums of partial rows, activations, layer
// norm, blends. Each reads and writes its rows once; bound by memory.
#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kThreads = 256;

unsigned Blocks(int64_t count) {
  return static_cast<unsigned>((count + kThreads - 1) / kThreads);
}

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

// A warp a row. Two more passes over a row that the first left in the cache.
template <class T>
__global__ void LayerNormKernel(const T* x, T* y, const LayerNormArgs norm,
                                const RowShape shape) {
  const int64_t row =
      int64_t{blockIdx.x} * (kThreads / kWarp) + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (row >= shape.rows) return;
  const T* from = x + row * shape.pitch;
  float sum = 0;
  for (int i = lane; i < shape.width; i += kWarp) {
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

}  // namespace

cudaError_t SumPartials(WeightType type, const float* partials, void* y,
                        int rows, int parts, int pitch, cudaStream_t stream) {
  const int64_t count = int64_t{rows} * pitch;
  if (type == WeightType::kFp32) {
    SumPartialsKernel<<<Blocks(count), kThreads, 0, stream>>>(
        partials, static_cast<float*>(y), count, parts, pitch);
  } else {
    SumPartialsKernel<<<Blocks(count), kThreads, 0, stream>>>(
        partials, static_cast<__nv_bfloat16*>(y), count, parts, pitch);
  }
  return cudaGetLastError();
}

cudaError_t ActivateRows(WeightType type, Activation activation, const void* x,
                         void* y, const RowShape& shape, cudaStream_t stream) {
  const int64_t count = int64_t{shape.rows} * shape.pitch;
  if (type == WeightType::kFp32) {
    ActivateKernel<<<Blocks(count), kThreads, 0, stream>>>(
        activation, static_cast<const float*>(x), static_cast<float*>(y), count,
        shape.width, shape.pitch);
  } else {
    ActivateKernel<<<Blocks(count), kThreads, 0, stream>>>(
        activation, static_cast<const __nv_bfloat16*>(x),
        static_cast<__nv_bfloat16*>(y), count, shape.width, shape.pitch);
  }
  return cudaGetLastError();
}

cudaError_t LayerNormRows(WeightType type, const void* x, void* y,
                          const LayerNormArgs& norm, const RowShape& shape,
                          cudaStream_t stream) {
  const unsigned blocks = Blocks(int64_t{shape.rows} * kWarp);
  if (type == WeightType::kFp32) {
    LayerNormKernel<<<blocks, kThreads, 0, stream>>>(
        static_cast<const float*>(x), static_cast<float*>(y), norm, shape);
  } else {
    LayerNormKernel<<<blocks, kThreads, 0, stream>>>(
        static_cast<const __nv_bfloat16*>(x), static_cast<__nv_bfloat16*>(y),
        norm, shape);
  }
  return cudaGetLastError();
}

cudaError_t Blend(WeightType type, void* y, const void* other, float share,
                  int64_t count, cudaStream_t stream) {
  if (type == WeightType::kFp32) {
    BlendKernel<<<Blocks(count), kThreads, 0, stream>>>(
        static_cast<float*>(y), static_cast<const float*>(other), share, count);
  } else {
    BlendKernel<<<Blocks(count), kThreads, 0, stream>>>(
        static_cast<__nv_bfloat16*>(y),
        static_cast<const __nv_bfloat16*>(other), share, count);
  }
  return cudaGetLastError();
}

}  // namespace fff::engine::cuda

// The small kernels between layers: sums of partial rows, activations, layer
// norm, blends, conversion. Each reads and writes its rows once; bound by
// memory.
#include "server/engine/cuda/row_math.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kThreads = 256;

unsigned Blocks(int64_t count) {
  return static_cast<unsigned>((count + kThreads - 1) / kThreads);
}

__global__ void SumPartialsKernel(const float* partials, float* y,
                                  int64_t count, int parts, int pitch) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const float* from = partials + i / pitch * parts * pitch + i % pitch;
  float sum = 0;
#pragma unroll 8
  for (int part = 0; part < parts; ++part) {
    sum += from[int64_t{part} * pitch];
  }
  y[i] = sum;
}

__global__ void ActivateKernel(Activation activation, const float* x, float* y,
                               int64_t count, int width, int pitch) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  y[i] = i % pitch < width ? Activate(activation, x[i]) : 0.0f;
}

// A warp a row. Two passes over a row that the first pass left in the cache.
__global__ void LayerNormKernel(const float* x, float* y, const float* weight,
                                const float* bias, float epsilon, int rows,
                                int width, int pitch) {
  const int64_t row =
      int64_t{blockIdx.x} * (kThreads / kWarp) + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (row >= rows) return;
  const float* from = x + row * pitch;
  float sum = 0;
  for (int i = lane; i < width; i += kWarp) sum += from[i];
  const float mean = WarpSum(sum) / static_cast<float>(width);
  float squares = 0;
  for (int i = lane; i < width; i += kWarp) {
    squares = fmaf(from[i] - mean, from[i] - mean, squares);
  }
  const float variance = WarpSum(squares) / static_cast<float>(width);
  const float scale = 1 / sqrtf(variance + epsilon);
  for (int i = lane; i < pitch; i += kWarp) {
    float value = 0;
    if (i < width) {
      value = (from[i] - mean) * scale * weight[i];
      if (bias != nullptr) value += bias[i];
    }
    y[row * pitch + i] = value;
  }
}

__global__ void BlendKernel(float* y, const float* other, float share,
                            int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) y[i] = share * y[i] + (1 - share) * other[i];
}

__global__ void ToBf16Kernel(const float4* from, uint2* to, int64_t vectors) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= vectors) return;
  const float4 f = from[i];
  const __nv_bfloat162 low = __floats2bfloat162_rn(f.x, f.y);
  const __nv_bfloat162 high = __floats2bfloat162_rn(f.z, f.w);
  to[i] = {*reinterpret_cast<const unsigned*>(&low),
           *reinterpret_cast<const unsigned*>(&high)};
}

}  // namespace

cudaError_t SumPartials(const float* partials, float* y, int rows, int parts,
                        int pitch, cudaStream_t stream) {
  const int64_t count = int64_t{rows} * pitch;
  SumPartialsKernel<<<Blocks(count), kThreads, 0, stream>>>(partials, y, count,
                                                            parts, pitch);
  return cudaGetLastError();
}

cudaError_t ActivateRows(Activation activation, const float* x, float* y,
                         int64_t count, int width, int pitch,
                         cudaStream_t stream) {
  ActivateKernel<<<Blocks(count), kThreads, 0, stream>>>(activation, x, y,
                                                         count, width, pitch);
  return cudaGetLastError();
}

cudaError_t LayerNormRows(const float* x, float* y, const float* weight,
                          const float* bias, float epsilon, int rows, int width,
                          int pitch, cudaStream_t stream) {
  LayerNormKernel<<<Blocks(int64_t{rows} * kWarp), kThreads, 0, stream>>>(
      x, y, weight, bias, epsilon, rows, width, pitch);
  return cudaGetLastError();
}

cudaError_t Blend(float* y, const float* other, float share, int64_t count,
                  cudaStream_t stream) {
  BlendKernel<<<Blocks(count), kThreads, 0, stream>>>(y, other, share, count);
  return cudaGetLastError();
}

cudaError_t ToBf16(const float* from, void* to, int64_t count,
                   cudaStream_t stream) {
  const int64_t vectors = count / 4;  // pitches are multiples of 8
  ToBf16Kernel<<<Blocks(vectors), kThreads, 0, stream>>>(
      reinterpret_cast<const float4*>(from), static_cast<uint2*>(to), vectors);
  return cudaGetLastError();
}

}  // namespace fff::engine::cuda

#pragma once

#include <cuda_bf16.h>

#include "server/engine/device/kernel_args.h"

// What every kernel is made of: 16-byte loads of weights and rows, sums over a
// warp, activations. Element types of weights are float and __nv_bfloat16;
// arithmetic is fp32 throughout.
namespace fff::engine::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

// Elements of W in 16 bytes.
template <class W>
inline constexpr int kVector = 16 / sizeof(W);

// kVector<W> weights as floats.
template <class W>
struct Vector {
  float v[kVector<W>];
};

// The 16 bytes as loaded; widened when used, so that loads in flight hold as
// few registers as they have bytes.
__device__ inline uint4 LoadRaw(const void* p) {
  return __ldg(static_cast<const uint4*>(p));
}
// Rows of x stay out of the first-level cache, which the weights need.
__device__ inline uint4 LoadPast(const void* p) {
  uint4 v;
  asm("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(p));
  return v;
}

template <class W>
__device__ inline Vector<W> Widen(const uint4& raw);
template <>
__device__ inline Vector<float> Widen<float>(const uint4& raw) {
  return {{__uint_as_float(raw.x), __uint_as_float(raw.y),
           __uint_as_float(raw.z), __uint_as_float(raw.w)}};
}
template <>
__device__ inline Vector<__nv_bfloat16> Widen<__nv_bfloat16>(const uint4& raw) {
  // bf16 is the upper half of a float.
  return {{__uint_as_float(raw.x << 16), __uint_as_float(raw.x & 0xffff0000u),
           __uint_as_float(raw.y << 16), __uint_as_float(raw.y & 0xffff0000u),
           __uint_as_float(raw.z << 16), __uint_as_float(raw.z & 0xffff0000u),
           __uint_as_float(raw.w << 16), __uint_as_float(raw.w & 0xffff0000u)}};
}

// The dot product of two vectors, first element first.
template <class W>
__device__ inline float Dot(const Vector<W>& a, const Vector<W>& b) {
  float sum = a.v[0] * b.v[0];
#pragma unroll
  for (int i = 1; i < kVector<W>; ++i) sum = fmaf(a.v[i], b.v[i], sum);
  return sum;
}

template <class W>
__device__ inline void AddScaled(float scale, const Vector<W>& a,
                                 Vector<W>& sum) {
#pragma unroll
  for (int i = 0; i < kVector<W>; ++i) {
    sum.v[i] = fmaf(scale, a.v[i], sum.v[i]);
  }
}

// The sum over the warp, the same bits in every lane: at each step both
// partners add the same two numbers.
__device__ inline float WarpSum(float value) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

__device__ inline bool GoesRight(bool tie_left, float z) {
  return tie_left ? z > 0 : z >= 0;  // NaN: left
}

static_assert(graph::kActivationCount == 7, "Activate names each of them");
// Within 1e-6 * max(|f(z)|, min(1, |z|)) of the exact value; NaN stays NaN,
// infinities give the limits.
__device__ inline float Activate(Activation activation, float z) {
  switch (activation) {
    case Activation::kRelu:
      return z < 0 ? 0.0f : z;
    case Activation::kGelu:
      // Below -20 the value is under the least subnormal; it also keeps
      // -infinity from meeting 0.
      return z < -20.0f ? -0.0f : 0.5f * z * (1 + erff(z * 0.70710678f));
    case Activation::kGeluTanh: {
      const float inner = 0.79788456f * (z + 0.044715f * z * z * z);
      return z < -20.0f ? -0.0f : 0.5f * z * (1 + tanhf(inner));
    }
    case Activation::kSilu:
      return z < -110.0f ? -0.0f : z / (1 + expf(-z));
    case Activation::kTanh:
      return tanhf(z);
    case Activation::kSigmoid:
      return 1 / (1 + expf(-z));
    case Activation::kIdentity:
      break;
  }
  return z;
}

// The sum over one row of weights in the order that all kernels share, so that
// a row takes the same way whichever kernel it meets. Each lane adds up the dot
// products of its vectors, 32 vectors apart; then WarpSum. For any width.
template <class W>
__device__ inline float WarpDot(const W* w, const W* x, int pitch, int lane) {
  float sum = 0;
#pragma unroll 4
  for (int i = lane * kVector<W>; i < pitch; i += kWarp * kVector<W>) {
    sum += Dot(Widen<W>(LoadRaw(w + i)), Widen<W>(LoadRaw(x + i)));
  }
  return WarpSum(sum);
}

// Row `node` of weights whose rows are row_bytes apart: one wide
// multiplication.
__device__ inline const char* RowAt(const char* rows, int node,
                                    unsigned row_bytes) {
  return rows + static_cast<uint64_t>(static_cast<unsigned>(node)) * row_bytes;
}

// kChunks vectors of a row of x in each lane; zeros past the pitch. kExact: the
// pitch is kChunks vectors per lane, so that nothing needs to be checked.
template <class W, int kChunks, bool kExact>
struct RowInLanes {
  static constexpr int kStride = kWarp * kVector<W>;
  Vector<W> x[kChunks];

  __device__ static bool Inside(int chunk, int pitch, int lane) {
    return kExact || chunk * kStride + lane * kVector<W> < pitch;
  }
  __device__ void Load(const W* row, int pitch, int lane) {
#pragma unroll
    for (int j = 0; j < kChunks; ++j) {
      x[j] = Inside(j, pitch, lane)
                 ? Widen<W>(LoadPast(row + j * kStride + lane * kVector<W>))
                 : Vector<W>{};
    }
  }
  // This lane's part of the product with a weight row, given where the lane's
  // first vector of it lies; WarpSum ends it.
  __device__ float PartialDot(const char* first, int pitch, int lane) const {
    uint4 raw[kChunks];
#pragma unroll
    for (int j = 0; j < kChunks; ++j) {
      raw[j] = Inside(j, pitch, lane) ? LoadRaw(first + j * kWarp * 16)
                                      : uint4{0, 0, 0, 0};
    }
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kChunks; ++j) sum += Dot(Widen<W>(raw[j]), x[j]);
    return sum;
  }
};

// A node of a descent, and lane l's z of level l.
struct Descent {
  int node = 0;  // heap order
  float z = 0;   // of level `lane`
};

// Takes `descent` from level `from` to level `to`. weights [nodes, pitch] and
// bias [nodes] (or null) of one tree.
template <class W, int kChunks, bool kExact>
__device__ inline void Descend(const RowInLanes<W, kChunks, kExact>& row,
                               const W* weights, const float* bias, int pitch,
                               int from, int to, bool tie_left, int lane,
                               Descent& descent) {
  const char* const first =
      reinterpret_cast<const char*>(weights + lane * kVector<W>);
  const unsigned row_bytes = static_cast<unsigned>(pitch) * sizeof(W);
  for (int level = from; level < to; ++level) {
    const float b = bias == nullptr ? 0.0f : __ldg(bias + descent.node);
    const float z = WarpSum(row.PartialDot(
                        RowAt(first, descent.node, row_bytes), pitch, lane)) +
                    b;
    if (lane == level) descent.z = z;
    descent.node = 2 * descent.node + 1 + (GoesRight(tie_left, z) ? 1 : 0);
  }
}

// Row `row` of rows that `pitch` elements of W stand apart.
template <class W>
__device__ inline const W* RowOf(const void* rows, int64_t row, int pitch) {
  return static_cast<const W*>(rows) + row * pitch;
}
template <class W>
__device__ inline W* RowOf(void* rows, int64_t row, int pitch) {
  return static_cast<W*>(rows) + row * pitch;
}

// Stores the first `count` numbers of `values` and zeros for the rest, so that
// the padding of a row stays finite. Rows are written once: they leave the
// caches first.
template <class W>
__device__ inline void StoreRow(float* p, const Vector<W>& values, int count) {
#pragma unroll
  for (int i = 0; i < kVector<W>; i += 4) {
    const float4 f = {count > i ? values.v[i] : 0.0f,
                      count > i + 1 ? values.v[i + 1] : 0.0f,
                      count > i + 2 ? values.v[i + 2] : 0.0f,
                      count > i + 3 ? values.v[i + 3] : 0.0f};
    __stcs(reinterpret_cast<float4*>(p + i), f);
  }
}
__device__ inline void StoreRow(__nv_bfloat16* p,
                                const Vector<__nv_bfloat16>& values,
                                int count) {
  unsigned packed[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair =
        __floats2bfloat162_rn(count > 2 * i ? values.v[2 * i] : 0.0f,
                              count > 2 * i + 1 ? values.v[2 * i + 1] : 0.0f);
    packed[i] = *reinterpret_cast<const unsigned*>(&pair);
  }
  __stcs(reinterpret_cast<uint4*>(p),
         uint4{packed[0], packed[1], packed[2], packed[3]});
}

}  // namespace fff::engine::cuda

// leaf_grouped: rows sorted by leaf, then matrix products per leaf; for wide
// leaves that many rows share.
//
//   Shapes as leaf_walk.cu; hidden [rows, hidden_pitch] floats between.
//
// A plain walk reads a leaf's weights once per row. So leaf_split.cu files the
// rows under their leaves. Then come two products of 64 rows of one leaf by 64
// columns per block, through shared memory: first x times w1, bias and
// activation into `hidden`, then hidden times w2. fp32 multiply-adds. A thread
// has 4 x 4 sums, each over k in order, so that a row's result does not depend
// on its neighbours. A leaf with most of the rows only has more blocks.
// Weights: a leaf's once for 64 of its rows; hidden written and read once.
// Benchmark case: leaf-768-128-768-d4, an H100, the dense layer in brackets:
// 16,384 rows 295 us fp32 (2,077), 22 TFLOP/s, 260 us bf16 (150); 2,048 rows 79
// us (289) and 62 us (24).
#include "server/engine/cuda/leaf/leaf_sorted.h"
#include "server/engine/cuda/row_math.cuh"
#include "server/engine/cuda/sort.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64;  // rows and columns of a block
constexpr int kDeep = 16;  // k at a time
constexpr int kEach = 4;   // rows and columns of a thread
constexpr int kTilePitch = kTile + 4;
static_assert(kThreads * kEach * kEach == kTile * kTile);
static_assert(kThreads * 4 == kTile * kDeep);
static_assert(kTile == kRowsOfTile);

// Four numbers from p on. p is a multiple of four elements from the start of a
// row, rows are padded to eight.
__device__ inline float4 LoadFour(const float* p) {
  return *reinterpret_cast<const float4*>(p);
}
__device__ inline float4 LoadFour(const __nv_bfloat16* p) {
  const uint2 raw = *reinterpret_cast<const uint2*>(p);
  return {__uint_as_float(raw.x << 16), __uint_as_float(raw.x & 0xffff0000u),
          __uint_as_float(raw.y << 16), __uint_as_float(raw.y & 0xffff0000u)};
}
__device__ inline void StoreFour(float* p, const float4& v) {
  *reinterpret_cast<float4*>(p) = v;
}
__device__ inline void StoreFour(__nv_bfloat16* p, const float4& v) {
  const __nv_bfloat162 low = __floats2bfloat162_rn(v.x, v.y);
  const __nv_bfloat162 high = __floats2bfloat162_rn(v.z, v.w);
  *reinterpret_cast<uint2*>(p) =
      uint2{*reinterpret_cast<const unsigned*>(&low),
            *reinterpret_cast<const unsigned*>(&high)};
}

// kDeep numbers of kTile rows (or columns), k by k.
using Panel = float[kDeep][kTilePitch];

// Thread t holds four k of one row: its place in a panel whose rows are rows of
// memory.
struct ByRow {
  int row = static_cast<int>(threadIdx.x) / (kDeep / 4);
  int k = static_cast<int>(threadIdx.x) % (kDeep / 4) * 4;
  __device__ void Store(const float4& v, Panel& to) const {
    to[k][row] = v.x;
    to[k + 1][row] = v.y;
    to[k + 2][row] = v.z;
    to[k + 3][row] = v.w;
  }
};
// Thread t holds four columns of one k.
struct ByColumn {
  int k = static_cast<int>(threadIdx.x) / (kTile / 4);
  int column = static_cast<int>(threadIdx.x) % (kTile / 4) * 4;
  __device__ void Store(const float4& v, Panel& to) const {
    StoreFour(&to[k][column], v);
  }
};

// The sums of a block: sum[i][j] of row 4 (t / 16) + i and column 4 (t % 16) +
// j. load_a(k) and load_b(k) give this thread's four numbers of the panels that
// begin at k, zero beyond the depth.
template <class A, class B, class LoadA, class LoadB>
__device__ inline void Multiply(int deep, const A& a_place, const B& b_place,
                                const LoadA& load_a, const LoadB& load_b,
                                float (&sum)[kEach][kEach]) {
  __shared__ alignas(16) Panel a[2];
  __shared__ alignas(16) Panel b[2];
  const int row = static_cast<int>(threadIdx.x) / (kTile / kEach) * kEach;
  const int column = static_cast<int>(threadIdx.x) % (kTile / kEach) * kEach;
  a_place.Store(load_a(0), a[0]);
  b_place.Store(load_b(0), b[0]);
  __syncthreads();
  int now = 0;
  for (int k = 0; k < deep; k += kDeep, now ^= 1) {
    const float4 next_a = load_a(k + kDeep);
    const float4 next_b = load_b(k + kDeep);
#pragma unroll
    for (int i = 0; i < kDeep; ++i) {
      const float4 x = LoadFour(&a[now][i][row]);
      const float4 w = LoadFour(&b[now][i][column]);
      const float xs[kEach] = {x.x, x.y, x.z, x.w};
      const float ws[kEach] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int r = 0; r < kEach; ++r) {
#pragma unroll
        for (int c = 0; c < kEach; ++c) {
          sum[r][c] = fmaf(xs[r], ws[c], sum[r][c]);
        }
      }
    }
    a_place.Store(next_a, a[now ^ 1]);
    b_place.Store(next_b, b[now ^ 1]);
    __syncthreads();
  }
}

template <class W>
__global__ void __launch_bounds__(kThreads)
    LeafHiddenKernel(const LeafArgs layer, const RowArgs rows, float* hidden,
                     const int pitch, const SortScratch scratch) {
  const auto tile = RowsOfTile(scratch, static_cast<int>(blockIdx.x));
  if (tile.count == 0) return;
  const int first = static_cast<int>(blockIdx.y) * kTile;
  const int64_t neurons = int64_t{tile.bucket} * layer.leaf_width;
  const ByRow place;
  const W* const x =
      RowOf<W>(rows.x, tile.Row(place.row), layer.x_pitch) + place.k;
  const W* const w =
      RowOf<W>(layer.w1, neurons + min(first + place.row, layer.leaf_width - 1),
               layer.x_pitch) +
      place.k;
  const int left = layer.x_pitch - place.k;
  float sum[kEach][kEach] = {};
  Multiply(
      layer.x_pitch, place, place,
      [x, left](int k) { return k < left ? LoadFour(x + k) : float4{}; },
      [w, left](int k) { return k < left ? LoadFour(w + k) : float4{}; }, sum);

  const int row = static_cast<int>(threadIdx.x) / (kTile / kEach) * kEach;
  const int column =
      first + static_cast<int>(threadIdx.x) % (kTile / kEach) * kEach;
  for (int r = 0; r < kEach && row + r < tile.count; ++r) {
    float* const to = hidden + int64_t{tile.rows[row + r]} * pitch;
    for (int c = 0; c < kEach && column + c < layer.leaf_width; ++c) {
      to[column + c] = Activate(layer.activation,
                                sum[r][c] + layer.b1[neurons + column + c]);
    }
  }
}

template <class W>
__global__ void __launch_bounds__(kThreads)
    LeafOutputKernel(const LeafArgs layer, const RowArgs rows,
                     const float* hidden, const int pitch,
                     const SortScratch scratch) {
  const auto tile = RowsOfTile(scratch, static_cast<int>(blockIdx.x));
  if (tile.count == 0) return;
  const int first = static_cast<int>(blockIdx.y) * kTile;
  const ByRow a_place;
  const ByColumn b_place;
  const float* const h = hidden + int64_t{tile.Row(a_place.row)} * pitch;
  const W* const w = RowOf<W>(layer.w2, int64_t{tile.bucket} * layer.leaf_width,
                              layer.y_pitch);
  const int b_column = first + b_place.column;
  const int deep = layer.leaf_width;
  float sum[kEach][kEach] = {};
  Multiply(
      deep, a_place, b_place,
      [=](int k) {
        const int at = k + a_place.k;
        float4 v = at < deep ? LoadFour(h + at) : float4{};
        // What lies between the width and the pitch was never written.
        if (at + 1 >= deep) v.y = 0;
        if (at + 2 >= deep) v.z = 0;
        if (at + 3 >= deep) v.w = 0;
        return v;
      },
      [=](int k) {
        const int at = k + b_place.k;
        return at < deep && b_column < layer.y_pitch
                   ? LoadFour(w + int64_t{at} * layer.y_pitch + b_column)
                   : float4{};
      },
      sum);
  const int row = static_cast<int>(threadIdx.x) / (kTile / kEach) * kEach;
  const int column =
      first + static_cast<int>(threadIdx.x) % (kTile / kEach) * kEach;
  if (column < layer.y_pitch) {
    float4 bias = {};
    if (layer.b2 != nullptr) {
      bias = LoadFour(layer.b2 + int64_t{tile.bucket} * layer.y_pitch + column);
    }
    // Zeros behind the width: an infinity times the padding of w2 is none.
    const int inside = layer.output_width - column;
    for (int r = 0; r < kEach && row + r < tile.count; ++r) {
      W* const y = RowOf<W>(rows.y, tile.rows[row + r], layer.y_pitch);
      StoreFour(y + column, {inside > 0 ? sum[r][0] + bias.x : 0.0f,
                             inside > 1 ? sum[r][1] + bias.y : 0.0f,
                             inside > 2 ? sum[r][2] + bias.z : 0.0f,
                             inside > 3 ? sum[r][3] + bias.w : 0.0f});
    }
  }
}

template <class W>
cudaError_t Launch(const LeafShape& shape, const RowArgs& rows,
                   const LaunchArgs& launch) {
  auto* const hidden = reinterpret_cast<float*>(launch.scratch.bytes);
  const SortScratch& sort = launch.scratch.sort;
  const int pitch = static_cast<int>(PitchOf(shape.args.leaf_width));
  const auto tiles =
      static_cast<unsigned>(TilesFor(rows.rows, LeavesOf(shape)));
  LeafHiddenKernel<W>
      <<<dim3(tiles, BlocksFor(shape.args.leaf_width, kTile)), kThreads, 0,
         StreamOf(launch)>>>(shape.args, rows, hidden, pitch, sort);
  LeafOutputKernel<W>
      <<<dim3(tiles, BlocksFor(shape.y_pitch, kTile)), kThreads, 0,
         StreamOf(launch)>>>(shape.args, rows, hidden, pitch, sort);
  return cudaGetLastError();
}

bool Supports(const LeafShape& shape) { return SortsByLeaf(shape, kTile); }

std::vector<int> Variants(const LeafShape& shape, const Ask& ask) {
  return OneIf(LeavesAreShared(shape, ask) || ask.all);
}

int64_t RowBytes(const LeafShape& shape) {
  return PitchOf(shape.args.leaf_width) * static_cast<int64_t>(sizeof(float));
}
ScratchNeed Needs(const LeafShape& shape, int64_t rows_max) {
  return HiddenNeed(shape, RowBytes(shape), rows_max);
}

absl::Status LaunchAll(const LeafShape& shape, const LaunchArgs& launch) {
  return InHiddenPieces(shape, launch, RowBytes(shape),
                        [&](const RowArgs& rows) {
                          return ByType(shape.type, [&](auto w) {
                            return Launch<decltype(w)>(shape, rows, launch);
                          });
                        });
}

}  // namespace

DeviceLeafKernel LeafGrouped() {
  return {"leaf_grouped", kSortsRowsOwnSums, Supports, Variants,
          Needs,          LaunchAll};
}

}  // namespace fff::engine::cuda

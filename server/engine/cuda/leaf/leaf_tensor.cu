// leaf_tensor: rows sorted by leaf, then matrix products per leaf by tensor
// cores; for leaves that many rows of bf16 share.
//
//   Shapes as leaf_walk.cu; hidden [rows, 3, hidden_pitch] bf16 between.
//
// After leaf_split.cu come two products of 64 rows of one leaf by kColumns
// columns per block (tensor_product.cuh): x times w1, bias and activation into
// `hidden`, then hidden times w2. An activation goes between them as three bf16
// that together have all bits of the float, so that outputs are the fp32 sums
// that they are elsewhere. The second product therefore counts three times.
// Routes are leaf_split's, and so those of all kernels. Two widths of a block:
// 128 columns, which read a row's numbers least often, and 64, of which there
// are more for fewer rows. A row: leaf_width * (input_width + 3 * output_width)
// multiply-adds. Benchmark case: leaf-768-128-768-d4, bf16, an H100. The dense
// layer and the best other kernel stand in brackets: 16,384 rows 98 us (149;
// 260), 2,048 rows 29 us (24; 62), 256 rows 22.5 us (10.8; 22.7). Of 16,384
// rows the split takes 27 us, the activations 27, the outputs 41: waiting,
// tensor cores are busy for a third of it. Tried:
//   four warps per block instead of eight, 104 us
//   the rows of a block found by each block from the counts, 115 us
//   activations where the sums are, 163 us (64 copies of their code)
//   outputs in blocks of 256 columns, 93 us, but slower for fewer rows.
#include "server/engine/cuda/leaf/leaf_sorted.h"
#include "server/engine/cuda/path/tensor_packing.h"
#include "server/engine/cuda/row_math.cuh"
#include "server/engine/cuda/sort.cuh"
#include "server/engine/cuda/tensor_product.cuh"

namespace fff::engine::cuda {
namespace {

static_assert(kProductRows == kRowsOfTile);
constexpr int kWide = 128;
constexpr int kNarrow = 64;
// Narrower leaves leave most of a tensor core's tile to zeros.
constexpr int kLeafWidthMin = 16;

template <int kColumns>
using HiddenShape = ProductShape<WeightOrder::kRowIsColumn, 1, kColumns, 64,
                                 kColumns == kWide ? 4 : 5>;
template <int kColumns>
using OutputShape =
    ProductShape<WeightOrder::kRowIsDepth, kTermsOfFloat, kColumns, 32, 4>;

template <int kColumns>
constexpr int kHiddenShared =
    HiddenShape<kColumns>::template kSharedBytes<float>;
template <int kColumns>
constexpr int kOutputShared =
    OutputShape<kColumns>::template kSharedBytes<Bf16>;

// Of a tile of results, what a thread copies at a time.
template <int kColumns>
constexpr int kTileVectors = kColumns / kVector<Bf16>;

template <int kColumns>
__global__ void __launch_bounds__(kProductThreads, 2)
    LeafTensorHiddenKernel(const LeafArgs layer, const RowArgs rows,
                           Bf16* hidden, const int pitch,
                           const SortScratch scratch) {
  using Shape = HiddenShape<kColumns>;
  extern __shared__ uint4 shared[];
  const auto tile = RowsOfTile(scratch, static_cast<int>(blockIdx.x));
  if (tile.count == 0) return;
  const int first = static_cast<int>(blockIdx.y) * kColumns;
  const int inside = layer.leaf_width - first;
  const int64_t neurons = int64_t{tile.bucket} * layer.leaf_width + first;
  const int vectors = layer.x_pitch / kVector<Bf16>;
  TensorProduct<Shape> product;
  product.Multiply(
      [&](int place) {
        return RowOf<Bf16>(rows.x, tile.Row(place), layer.x_pitch);
      },
      0, vectors,
      {RowOf<Bf16>(layer.w1, neurons, layer.x_pitch), layer.x_pitch, inside,
       vectors},
      reinterpret_cast<typename Shape::Part*>(shared));
  auto& z = *reinterpret_cast<typename Shape::template Tile<float>*>(shared);
  product.ForEachPair([&z](int place, int column, float a, float b) {
    *reinterpret_cast<float2*>(&z.values[place][column]) = {a, b};
  });
  __syncthreads();
  // In a loop of its own, and not for each sum that a thread holds: there the
  // code of all activations came 64 times.
  const int count = tile.count * kColumns;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kProductThreads) {
    float& value = z.values[i / kColumns][i % kColumns];
    const int column = i % kColumns;
    value = column < inside
                ? Activate(layer.activation,
                           value + __ldg(layer.b1 + neurons + column))
                : 0.0f;
  }
  __syncthreads();
  const int wanted = (pitch - first) / kVector<Bf16>;
  constexpr int kVectors = kTileVectors<kColumns>;
  for (int i = static_cast<int>(threadIdx.x); i < tile.count * kVectors;
       i += kProductThreads) {
    const int place = i / kVectors;
    const int vector = i % kVectors;
    if (vector >= wanted) continue;
    float v[kVector<Bf16>];
    const float* const from = &z.values[place][vector * kVector<Bf16>];
#pragma unroll
    for (int k = 0; k < kVector<Bf16>; ++k) v[k] = from[k];
    Bf16* const row = hidden +
                      int64_t{tile.Row(place)} * kTermsOfFloat * pitch + first +
                      vector * kVector<Bf16>;
    StoreTerms(v, row, pitch);
  }
}

template <int kColumns>
__global__ void __launch_bounds__(kProductThreads, 2)
    LeafTensorOutputKernel(const LeafArgs layer, const RowArgs rows,
                           const Bf16* hidden, const int pitch,
                           const SortScratch scratch) {
  using Shape = OutputShape<kColumns>;
  extern __shared__ uint4 shared[];
  const auto tile = RowsOfTile(scratch, static_cast<int>(blockIdx.x));
  if (tile.count == 0) return;
  const int first = static_cast<int>(blockIdx.y) * kColumns;
  const int64_t neurons = int64_t{tile.bucket} * layer.leaf_width;
  TensorProduct<Shape> product;
  product.Multiply(
      [&](int place) {
        return RowOf<Bf16>(hidden, tile.Row(place), kTermsOfFloat * pitch);
      },
      pitch, pitch / kVector<Bf16>,
      {RowOf<Bf16>(layer.w2, neurons, layer.y_pitch) + first, layer.y_pitch,
       layer.leaf_width, (layer.y_pitch - first) / kVector<Bf16>},
      reinterpret_cast<typename Shape::Part*>(shared));
  // Zeros behind the width: an infinity times the padding of w2 is none.
  const int inside = layer.output_width - first;
  const float* const bias =
      layer.b2 == nullptr
          ? nullptr
          : layer.b2 + int64_t{tile.bucket} * layer.y_pitch + first;
  auto& y = *reinterpret_cast<typename Shape::template Tile<Bf16>*>(shared);
  product.ForEachPair([&](int place, int column, float a, float b) {
    const float2 added =
        bias == nullptr || column >= inside
            ? float2{}
            : __ldg(reinterpret_cast<const float2*>(bias + column));
    *reinterpret_cast<__nv_bfloat162*>(&y.values[place][column]) =
        __floats2bfloat162_rn(column < inside ? a + added.x : 0.0f,
                              column + 1 < inside ? b + added.y : 0.0f);
  });
  __syncthreads();
  const int wanted = (layer.y_pitch - first) / kVector<Bf16>;
  constexpr int kVectors = kTileVectors<kColumns>;
  for (int i = static_cast<int>(threadIdx.x); i < tile.count * kVectors;
       i += kProductThreads) {
    const int vector = i % kVectors;
    if (vector >= wanted) continue;
    const int place = i / kVectors;
    Bf16* const row = RowOf<Bf16>(rows.y, tile.Row(place), layer.y_pitch);
    __stcs(reinterpret_cast<uint4*>(row + first) + vector,
           *reinterpret_cast<const uint4*>(
               &y.values[place][vector * kVector<Bf16>]));
  }
}

template <int kColumns>
cudaError_t Launch(const LeafShape& shape, const RowArgs& rows,
                   const LaunchArgs& launch) {
  auto* const hidden = reinterpret_cast<Bf16*>(launch.scratch.bytes);
  const SortScratch& sort = launch.scratch.sort;
  const int pitch = static_cast<int>(PitchOf(shape.args.leaf_width));
  const auto tiles =
      static_cast<unsigned>(TilesFor(rows.rows, LeavesOf(shape)));
  LeafTensorHiddenKernel<kColumns>
      <<<dim3(tiles, BlocksFor(pitch, kColumns)), kProductThreads,
         kHiddenShared<kColumns>, StreamOf(launch)>>>(shape.args, rows, hidden,
                                                      pitch, sort);
  LeafTensorOutputKernel<kColumns>
      <<<dim3(tiles, BlocksFor(shape.y_pitch, kColumns)), kProductThreads,
         kOutputShared<kColumns>, StreamOf(launch)>>>(shape.args, rows, hidden,
                                                      pitch, sort);
  return cudaGetLastError();
}

bool Supports(const LeafShape& shape) {
  return shape.type == WeightType::kBf16 && SortsByLeaf(shape, kNarrow);
}

// Widths of a block.
std::vector<int> Variants(const LeafShape& shape, const Ask& ask) {
  const bool pays =
      LeavesAreShared(shape, ask) && shape.args.leaf_width >= kLeafWidthMin;
  return pays || ask.all ? std::vector<int>{kWide, kNarrow}
                         : std::vector<int>();
}

int64_t RowBytes(const LeafShape& shape) {
  return kTermsOfFloat * PitchOf(shape.args.leaf_width) *
         static_cast<int64_t>(sizeof(Bf16));
}
ScratchNeed Needs(const LeafShape& shape, int64_t rows_max) {
  return HiddenNeed(shape, RowBytes(shape), rows_max);
}

// Not for a weight that is not finite as bf16: two of three terms of an
// activation may be zero.
absl::StatusOr<std::shared_ptr<const KernelState>> Prepare(
    const LeafShape&, const LeafWeights& weights, Device&) {
  if (!FitsBf16(weights.w2)) return nullptr;
  FFF_ASSIGN_OR_RETURN(
      const bool fits,
      AllowShared({{LeafTensorHiddenKernel<kWide>, kHiddenShared<kWide>},
                   {LeafTensorOutputKernel<kWide>, kOutputShared<kWide>},
                   {LeafTensorHiddenKernel<kNarrow>, kHiddenShared<kNarrow>},
                   {LeafTensorOutputKernel<kNarrow>, kOutputShared<kNarrow>}}));
  if (!fits) return nullptr;
  return std::make_shared<const KernelState>();
}

absl::Status LaunchAll(const LeafShape& shape, const LaunchArgs& launch) {
  return InHiddenPieces(
      shape, launch, RowBytes(shape), [&](const RowArgs& rows) {
        const cudaError_t launched = launch.variant == kWide
                                         ? Launch<kWide>(shape, rows, launch)
                                         : Launch<kNarrow>(shape, rows, launch);
        return ToStatus(launched, "launching");
      });
}

}  // namespace

DeviceLeafKernel LeafTensor() {
  return {"leaf_tensor", kSortsRowsOwnSums, Supports, Variants,
          Needs,         LaunchAll,         Prepare};
}

}  // namespace fff::engine::cuda

// path_tensor, first kernel: 128 rows per block times the nodes of the first
// levels, by tensor cores.
//
//   x [rows, x_pitch], tiles of X (path_tensor.h) -> top_z [rows, kSplitMax],
//   rows sorted by the subtree they reached
//
// Rows that share a subtree share its few nodes. So evaluating all of them for
// all rows is a small matrix product, of which each row then keeps its way.
// Here it is over the up to 127 nodes of the top, in path_tensor_finish.cu over
// the up to 31 of each subtree. x and X pass through shared memory, kStages
// parts of 64 numbers in flight; a warp multiplies 32 rows by half of the
// nodes. Routes are path_walk's: where |z| is so close to zero that the order
// of the sum matters (TensorArgs::slack), WarpDot decides.
// A row: 128 * width multiply-adds; x from device memory once.
// Benchmark case: path-768-l12, 16,384 rows, an H100: 25 us, 39 % of the
// bandwidth of device memory; two thirds of it in the products, a tenth files
// the rows. Tried: x and X in registers, two steps ahead, 39 us.
#include "server/engine/cuda/fragments.cuh"
#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/path/path_tensor.h"
#include "server/engine/cuda/path/tensor_walk.cuh"
#include "server/engine/cuda/sort.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kRows = 128;
constexpr int kTilesOfRows = 2;  // per warp
constexpr int kStages = 4;
constexpr int kSlackMax = 1 << kTensorTop;
static_assert(kTensorSteps % kPartSteps == 0);

// kTiles: tiles of nodes a warp multiplies; a pair of warps has all nodes.
template <int kTiles>
struct Part {
  RowPart<kRows> x;
  uint4 w[kPartSteps][2 * kTiles][kWarp];
};
template <int kTiles>
constexpr int kPitch = 2 * kTiles* kTileColumns + 1;
template <int kTiles>
constexpr int kSharedBytes = kStages* static_cast<int>(sizeof(Part<kTiles>));

// Copies parts to shared memory. A thread copies one vector of each of kCopies
// rows, and its share of the weights.
template <int kTiles>
class PartLoader {
 public:
  __device__ PartLoader(const PathArgs& layer, const TensorArgs& tensor,
                        const RowArgs& rows, int first)
      : vectors_(layer.x_pitch / kVector<Bf16>),
        step_vectors_(tensor.top_tiles * kWarp),
        w_(static_cast<const uint4*>(tensor.x_tiles) + threadIdx.x) {
#pragma unroll
    for (int c = 0; c < kCopies; ++c) {
      const int row = min(first + Row(c), rows.rows - 1);
      x_[c] = reinterpret_cast<const uint4*>(
          RowOf<Bf16>(rows.x, row, layer.x_pitch));
    }
  }
  __device__ void Load(int part, Part<kTiles>& to) const {
    const int at = threadIdx.x % kPartVectors;
    const int vector = part * kPartVectors + at;
    const bool inside = vector < vectors_;
#pragma unroll
    for (int c = 0; c < kCopies; ++c) {
      CopyAsync(to.x.At(Row(c), at), x_[c] + (inside ? vector : 0), inside,
                policy_);
    }
    const uint4* const w = w_ + part * kPartSteps * step_vectors_;
#pragma unroll
    for (int step = 0; step < kPartSteps; ++step) {
#pragma unroll
      for (int i = 0; i < 2 * kTiles * kWarp; i += kThreads) {
        if (i + static_cast<int>(threadIdx.x) >= step_vectors_) break;
        CopyAsync(&to.w[step][0][0] + threadIdx.x + i,
                  w + step * step_vectors_ + i, true);
      }
    }
  }

 private:
  static constexpr int kCopies = kRows * kPartVectors / kThreads;
  __device__ static int Row(int copy) {
    return (threadIdx.x + copy * kThreads) / kPartVectors;
  }

  const uint4* x_[kCopies];
  int vectors_;
  int step_vectors_;
  const uint4* w_;
  uint64_t policy_ = KeepLongPolicy();  // for path_tensor_finish
};

// A warp's sums: 32 rows by kTiles tiles of nodes, and the squared lengths of
// 16 of the rows (the other warp of the pair has those of the other 16).
template <int kTiles>
struct Sums {
  float z[kTilesOfRows][kTiles][4] = {};
  float low_gram[4] = {};
  float high_gram[4] = {};

  __device__ void Add(Part<kTiles>& part, int warp, int lane) {
#pragma unroll
    for (int step = 0; step < kPartSteps; ++step) {
      RowFragment x[kTilesOfRows][2];
#pragma unroll
      for (int i = 0; i < 2 * kTilesOfRows; ++i) {
        x[i / 2][i % 2] =
            part.x.Load((warp / 2 * kTilesOfRows + i / 2) * kTileRows,
                        step * 2 + i % 2, lane);
      }
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
        const uint4 w = part.w[step][warp % 2 * kTiles + j][lane];
#pragma unroll
        for (int m = 0; m < kTilesOfRows; ++m) {
          MultiplyAdd16(x[m][0], w.x, w.y, z[m][j]);
          MultiplyAdd16(x[m][1], w.z, w.w, z[m][j]);
        }
      }
      if (warp % 2 == 0) {
        AddSquares(x[0]);
      } else {
        AddSquares(x[1]);
      }
    }
  }

  // Rows times rows.
  __device__ void AddSquares(const RowFragment (&x)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      MultiplyAdd16(x[i], x[i].x, x[i].z, low_gram);
      MultiplyAdd16(x[i], x[i].y, x[i].w, high_gram);
    }
  }

  // The lanes on the diagonal of the products of rows with rows.
  __device__ void StoreLengths(float* lengths, int warp, int lane) const {
    const int group = lane / 4;
    if (lane % 4 != group / 2) return;
    const bool odd = group % 2 != 0;
    float* const to = lengths + warp * kTileRows + group;
    to[0] = LengthOf(odd ? low_gram[1] : low_gram[0]);
    to[8] = LengthOf(odd ? high_gram[3] : high_gram[2]);
  }
};

template <int kTiles>
__global__ void __launch_bounds__(kThreads, 1)
    PathTensorTopKernel(const PathArgs layer, const TensorArgs tensor,
                        const RowArgs rows, const SortScratch scratch) {
  extern __shared__ uint4 shared[];
  __shared__ float lengths[kRows];
  __shared__ float slack[kSlackMax];
  auto* const parts = reinterpret_cast<Part<kTiles>*>(shared);
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int first = static_cast<int>(blockIdx.x) * kRows;
  const int count = tensor.steps / kPartSteps;
  // Asked for first, kept last: what comes behind the rows would wait for them.
  const int node = min(static_cast<int>(threadIdx.x), (1 << layer.levels) - 2);
  const float node_slack = tensor.slack[min(node, kSlackMax - 1)];
  const PartLoader<kTiles> loader(layer, tensor, rows, first);
#pragma unroll
  for (int part = 0; part < kStages - 1; ++part) {
    if (part < count) loader.Load(part, parts[part]);
    CommitCopies();
  }
  Sums<kTiles> sums;
  for (int part = 0; part < count; ++part) {
    AwaitCopies<kStages - 2>();
    __syncthreads();  // the part is there, and its predecessor done with
    const int next = part + kStages - 1;
    if (next < count) loader.Load(next, parts[next % kStages]);
    CommitCopies();
    sums.Add(parts[part % kStages], warp, lane);
  }
  __syncthreads();
  auto* const z = reinterpret_cast<float*>(shared);
  if (threadIdx.x < kSlackMax) slack[threadIdx.x] = node_slack;
  sums.StoreLengths(lengths, warp, lane);
#pragma unroll
  for (int m = 0; m < kTilesOfRows; ++m) {
    const int tile = warp / 2 * kTilesOfRows + m;
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      StoreSums(sums.z[m][j], layer, 0, 0,
                (warp % 2 * kTiles + j) * kTileColumns,
                z + tile * kTileRows * kPitch<kTiles>, kPitch<kTiles>, lane);
    }
  }
  __syncthreads();

  const int place = warp * kTileRows + lane % kTileRows;
  const int row = min(first + place, rows.rows - 1);
  Walker mine;
  mine.walks = lane < kTileRows && first + place < rows.rows;
  mine.x = RowOf<Bf16>(rows.x, row, layer.x_pitch);
  mine.length = lengths[place];
  mine.z = z + place * kPitch<kTiles>;
  mine.slack = slack;
  float* const kept = scratch.top_z + int64_t{row} * kSplitMax;
  const int below =
      Walk(layer, mine, 0, 0, tensor.split, lane,
           [kept](int level, int, float value) { kept[level] = value; });
  if (mine.walks) kept[kLengthAt] = mine.length;
  const int buckets = 1 << tensor.split;
  FileRows<kThreads>(scratch, buckets, mine.walks ? below - (buckets - 1) : -1,
                     row);
}

template <int kTiles>
void Launch(const PathShape& shape, const TensorArgs& tensor,
            const LaunchArgs& launch) {
  const unsigned blocks = BlocksFor(launch.rows.rows, kRows);
  PathTensorTopKernel<kTiles>
      <<<blocks, kThreads, kSharedBytes<kTiles>, StreamOf(launch)>>>(
          shape.args, tensor, launch.rows, launch.scratch.sort);
}

}  // namespace

absl::StatusOr<bool> PreparePathTensorTop() {
  return AllowShared({{PathTensorTopKernel<4>, kSharedBytes<4>},
                      {PathTensorTopKernel<8>, kSharedBytes<8>}});
}

absl::Status PathTensorTop(const PathShape& shape, const TensorArgs& tensor,
                           const LaunchArgs& launch) {
  if (tensor.top_tiles <= 8) {
    Launch<4>(shape, tensor, launch);
  } else {
    Launch<8>(shape, tensor, launch);
  }
  return Launched();
}

}  // namespace fff::engine::cuda

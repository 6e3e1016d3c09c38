// path_tensor, second kernel: 16 rows of one subtree per warp.
//
//   Shapes as path_walk.cu; rows sorted by subtree, top_z: path_tensor_top.cu.
//
// All of the subtree's nodes times the rows; each row walks down the products.
// Its activations, zero for the nodes off its path, times the Y of the path to
// the subtree and of the subtree. Activations are cut into three bf16 that
// together have all bits of the float, so that outputs are the fp32 sums that
// they are elsewhere. With one tile per warp there are few warps to hide
// behind: rows, X and Y are asked for several parts ahead.
// A row: 32 * width + 3 * 40 * output width multiply-adds; x from the
// second-level cache as far as that kept it, y written once.
// Benchmark case: path-768-l12, 16,384 rows, an H100: 32 us, path_tensor_top
// 25, together 57 (path_grouped 65, path_walk 71). Half of the second-level
// cache's bandwidth; a third of the time products wait for x, a third is the
// outputs. Tried:
//   x and X in registers, four steps ahead, 35 us (and as many moves as
//   products: a fragment's words come from two rows)
//   the x that is coming asked to stay in the second-level cache, 37 instead
//   of 46 MB from device memory, 1 us
//   X into the first-level cache at once, 2 us slower
//   activations as two bf16, 2 us faster and not exact
//   x four parts ahead instead of six, the same.
#include "server/engine/cuda/fragments.cuh"
#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/path/path_tensor.h"
#include "server/engine/cuda/path/subtree_product.cuh"
#include "server/engine/cuda/path/tensor_walk.cuh"
#include "server/engine/cuda/sort.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kWarps = 10;
constexpr int kAhead = 3;  // groups of columns in flight
constexpr int kSlotPitch = kTensorSlots + 1;
constexpr int kSlotSteps = kTensorSlots / 8;

// What a warp of the second kernel keeps of its 16 rows.
struct Kept {
  float slots[kTileRows][kSlotPitch];  // z, then activations
  alignas(16) float z[kTileRows][kTensorLevelsMax];
  int rows[kTileRows];
  int leaves[kTileRows];
  float slack[kWarp];  // of the subtree's nodes
};

// Rows of one subtree, at most 16.
struct Tile {
  int subtree;
  int first;  // of the rows of the subtree
  int count;
};

__device__ inline Tile FindTile(const SortScratch& scratch, const int* ends,
                                int buckets, int index) {
  const int bucket = BucketOf(ends, buckets, index);
  const int first = (index - (bucket == 0 ? 0 : ends[bucket - 1])) * kTileRows;
  return {bucket, first, min(kTileRows, scratch.counts[bucket] - first)};
}

// Decisions of a tile: fills kept.z, leaves and the routes.
__device__ inline void FinishWalk(const PathArgs& layer,
                                  const TensorArgs& tensor, const RowArgs& rows,
                                  const SortScratch& scratch, const Tile& tile,
                                  SubtreeProduct::Parts& parts, Kept& kept,
                                  int lane) {
  SubtreeProduct product(layer, tensor, tile.subtree, parts, lane);
  const int mine_at = lane % kTileRows;
  const int row = scratch.order[int64_t{tile.subtree} * scratch.rows_max +
                                tile.first + min(mine_at, tile.count - 1)];
  const int levels = layer.levels - tensor.split;
  const int local = min(lane, (1 << levels) - 2);
  const float slack =
      tensor.slack[NodeInTree(tensor.split, tile.subtree, local)];
  // Half of the row's z of the top in each of its two lanes.
  const float4 top = reinterpret_cast<const float4*>(
      scratch.top_z + int64_t{row} * kSplitMax)[lane / kTileRows];
  product.Multiply(rows, layer, row);
  kept.slack[lane] = slack;
  reinterpret_cast<float4*>(kept.z[mine_at])[lane / kTileRows] = top;
#pragma unroll
  for (int j = 0; j < SubtreeProduct::kTiles; ++j) {
    StoreSums(product.sum[j], layer, tensor.split, tile.subtree,
              j * kTileColumns, kept.slots[0], kSlotPitch, lane);
  }
  __syncwarp();

  Walker mine;
  mine.walks = lane < tile.count;
  mine.x = RowOf<Bf16>(rows.x, row, layer.x_pitch);
  mine.z = kept.slots[mine_at];
  float* const z = kept.z[mine_at];
  mine.length = z[kLengthAt];
  mine.slack = kept.slack;
  __syncwarp();
  const int below = Walk(
      layer, mine, tensor.split, tile.subtree, levels, lane,
      [&](int level, int, float value) { z[tensor.split + level] = value; });
  if (lane < kTileRows) {
    // The decision on the last level leads nowhere: back to its parent.
    const int across = (below - 1) / 2 - ((1 << (levels - 1)) - 1);
    kept.rows[lane] = row;
    kept.leaves[lane] = (tile.subtree << (levels - 1)) + across;
    if (mine.walks) rows.leaves[row] = kept.leaves[lane];
  }
  __syncwarp();
}

// The slot of the node that the path to `leaf` visits on `level`.
__device__ inline int SlotOf(int leaf, int level, int split, int levels) {
  if (level < split) return level;
  const int down = level - split;
  const int across = (leaf >> (levels - 1 - level)) & ((1 << down) - 1);
  return kTensorPathSlots + (1 << down) - 1 + across;
}

// kept.slots: the activations on each row's path, zero elsewhere.
__device__ inline void FillSlots(const PathArgs& layer, int split,
                                 const RowArgs& rows, int count, Kept& kept,
                                 int lane) {
  for (int i = lane; i < kTileRows * kSlotPitch; i += kWarp) {
    (&kept.slots[0][0])[i] = 0;
  }
  __syncwarp();
  for (int i = lane; i < count * layer.levels; i += kWarp) {
    const int r = i / layer.levels;
    const int level = i % layer.levels;
    const float z = kept.z[r][level];
    kept.slots[r][SlotOf(kept.leaves[r], level, split, layer.levels)] =
        Activate(layer.activation, z);
    if (rows.margins != nullptr) {
      rows.margins[int64_t{kept.rows[r]} * layer.levels + level] = z;
    }
  }
  __syncwarp();
}

__device__ inline unsigned Pair(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const unsigned*>(&pair);
}

// Activations of a tile as factors, each as kTermsOfFloat bf16.
class Activations {
 public:
  __device__ Activations(const Kept& kept, int lane) {
    const int slot = 2 * (lane % 4);
#pragma unroll
    for (int step = 0; step < kSlotSteps; ++step) {
      Split(kept.slots[lane / 4] + slot + 8 * step, low_[step]);
      Split(kept.slots[lane / 4 + 8] + slot + 8 * step, high_[step]);
    }
  }
  // A group of columns: rows of Y as TensorArgs::y_groups has them, eight
  // outputs of rows group and group + 8.
  __device__ void Multiply(const uint4 (&y)[kSlotSteps],
                           uint4 (&out)[2]) const {
    const unsigned words[] = {y[0].x, y[0].y, y[0].z, y[0].w, y[1].x,
                              y[1].y, y[1].z, y[1].w, y[2].x, y[2].y,
                              y[2].z, y[2].w, y[3].x, y[3].y, y[3].z,
                              y[3].w, y[4].x, y[4].y, y[4].z, y[4].w};
    unsigned low[4];
    unsigned high[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float sum[4] = {};
      AddColumns(words + j * kSlotSteps, sum);
      low[j] = Pair(sum[0], sum[1]);
      high[j] = Pair(sum[2], sum[3]);
    }
    out[0] = {low[0], low[1], low[2], low[3]};
    out[1] = {high[0], high[1], high[2], high[3]};
  }

 private:
  __device__ static void Split(const float* pair,
                               unsigned (&terms)[kTermsOfFloat]) {
    float first = pair[0];
    float second = pair[1];
#pragma unroll
    for (int term = 0; term < kTermsOfFloat; ++term) {
      terms[term] = UpperHalves(first, second);
      first = Remainder(first);
      second = Remainder(second);
    }
  }
  // Eight columns; the smallest terms first.
  __device__ void AddColumns(const unsigned* y, float (&sum)[4]) const {
#pragma unroll
    for (int term = kTermsOfFloat - 1; term >= 0; --term) {
#pragma unroll
      for (int step = 0; step + 1 < kSlotSteps; step += 2) {
        MultiplyAdd16({low_[step][term], high_[step][term],
                       low_[step + 1][term], high_[step + 1][term]},
                      y[step], y[step + 1], sum);
      }
      MultiplyAdd8(low_[kSlotSteps - 1][term], high_[kSlotSteps - 1][term],
                   y[kSlotSteps - 1], sum);
    }
  }

  unsigned low_[kSlotSteps][kTermsOfFloat];
  unsigned high_[kSlotSteps][kTermsOfFloat];
};

// Eight bf16, zeros from `inside` of them on.
__device__ inline uint4 FirstOf(const uint4& v, int inside) {
  unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (inside <= 2 * i) {
      words[i] = 0;
    } else if (inside == 2 * i + 1) {
      words[i] &= 0xffffu;
    }
  }
  return {words[0], words[1], words[2], words[3]};
}

// The outputs of a tile. Asks for the first rows of Y when it is made.
class Outputs {
 public:
  __device__ Outputs(const PathArgs& layer, const TensorArgs& tensor,
                     int subtree, int lane)
      : groups_((layer.y_pitch + kTensorColumns - 1) / kTensorColumns),
        y_(static_cast<const uint4*>(tensor.y_groups) + lane +
           int64_t{subtree} * groups_ * kSlotSteps * kWarp) {
#pragma unroll
    for (int r = 0; r < kAhead; ++r) LoadGroup(r, ring_[r]);
  }

  __device__ void Combine(const PathArgs& layer, const RowArgs& rows,
                          const Kept& kept, int count, int lane) {
    const Activations activations(kept, lane);
    const int group = lane / 4;
    Bf16* const low = RowOf<Bf16>(rows.y, kept.rows[group], layer.y_pitch);
    Bf16* const high = RowOf<Bf16>(rows.y, kept.rows[group + 8], layer.y_pitch);
    for (int base = 0; base < groups_; base += kAhead) {
#pragma unroll
      for (int r = 0; r < kAhead; ++r) {
        uint4 words[2];
        activations.Multiply(ring_[r], words);
        LoadGroup(base + r + kAhead, ring_[r]);
        const int column = (base + r) * kTensorColumns + 8 * (lane % 4);
        if (column >= layer.y_pitch) continue;
        const int inside = layer.output_width - column;
        if (inside < 8) {  // an infinity times the padding of Y is no zero
          words[0] = FirstOf(words[0], inside);
          words[1] = FirstOf(words[1], inside);
        }
        if (group < count) {
          __stcs(reinterpret_cast<uint4*>(low + column), words[0]);
        }
        if (group + 8 < count) {
          __stcs(reinterpret_cast<uint4*>(high + column), words[1]);
        }
      }
    }
  }

 private:
  // Of the last group once more where there is no such group.
  __device__ void LoadGroup(int g, uint4 (&to)[kSlotSteps]) const {
    const uint4* const from = y_ + min(g, groups_ - 1) * (kSlotSteps * kWarp);
#pragma unroll
    for (int v = 0; v < kSlotSteps; ++v) to[v] = LoadRaw(from + v * kWarp);
  }

  int groups_;
  const uint4* y_;
  uint4 ring_[kAhead][kSlotSteps];
};

__global__ void __launch_bounds__(kWarps* kWarp, 1)
    PathTensorFinishKernel(const PathArgs layer, const TensorArgs tensor,
                           const RowArgs rows, const SortScratch scratch) {
  __shared__ int ends[kBucketsMax];
  __shared__ Kept kept[kWarps];
  extern __shared__ uint4 shared[];
  auto* const parts = reinterpret_cast<SubtreeProduct::Parts*>(shared);
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int buckets = 1 << tensor.split;
  PrefixSums(scratch.counts, kTileRows, ends);
  const int64_t tiles = ends[buckets - 1];
  const auto begin = static_cast<int>(tiles * blockIdx.x / gridDim.x);
  const auto end = static_cast<int>(tiles * (blockIdx.x + 1) / gridDim.x);
  for (int i = begin + warp; i < end; i += kWarps) {
    const Tile tile = FindTile(scratch, ends, buckets, i);
    FinishWalk(layer, tensor, rows, scratch, tile, parts[warp], kept[warp],
               lane);
    Outputs outputs(layer, tensor, tile.subtree, lane);
    FillSlots(layer, tensor.split, rows, tile.count, kept[warp], lane);
    outputs.Combine(layer, rows, kept[warp], tile.count, lane);
    __syncwarp();
  }
  ResetCounts(scratch, buckets);
}

constexpr int kSharedBytes =
    kWarps * static_cast<int>(sizeof(SubtreeProduct::Parts));

}  // namespace

absl::StatusOr<bool> PreparePathTensorFinish() {
  return AllowShared({{PathTensorFinishKernel, kSharedBytes}});
}

absl::Status PathTensorFinish(const PathShape& shape, const TensorArgs& tensor,
                              const LaunchArgs& launch) {
  const auto blocks = static_cast<unsigned>(shape.device.processors);
  PathTensorFinishKernel<<<blocks, kWarps * kWarp, kSharedBytes,
                           StreamOf(launch)>>>(shape.args, tensor, launch.rows,
                                               launch.scratch.sort);
  return Launched();
}

}  // namespace fff::engine::cuda

// path_masked: all nodes of several small trees by tensor cores, for many rows
// of bf16.
//
//   Shapes as path_walk.cu; hidden [rows, 3, groups * 128] bf16 and partials
//   [rows, parts, y_pitch] between.
//
// Where trees are many and short, rows share most nodes, and evaluating all of
// them is a matrix product. (1) A block multiplies 64 rows by the nodes of as
// many whole trees as 128 columns hold, a group; every row walks down the
// products and leaves its activations, zero for the nodes off its paths.
// (2) Activations times Y, a part of the groups a block, and the sum of parts
// (SumPartials). An activation is three bf16 that together have all bits of the
// float (leaf_tensor.cu). Routes are path_walk's: where |z| is so close to zero
// that the order of the sum matters (tensor_packing.h), WarpDot decides.
// A row: 128 * groups * (input width + 3 * output width) multiply-adds.
// Benchmark case: path-768-t128-l5, an H100; the dense layer and the best other
// kernel in brackets: 1,024 rows 110 us (26; 282), 128 rows 32 us (14; 51), 16
// rows 24 us (11; 14). Of 1,024 rows: nodes 46 us, outputs 59, tensor cores
// busy for half of that, loads from shared memory for two thirds. What dense
// layers do not have: three terms instead of one, and the walk. Tried: output
// blocks of 256 columns, 116 us.
#include <algorithm>

#include "server/engine/cuda/path/path_sums.h"
#include "server/engine/cuda/path/tensor_packing.h"
#include "server/engine/cuda/path/tensor_walk.cuh"
#include "server/engine/cuda/row_math.cuh"
#include "server/engine/cuda/tensor_product.cuh"

namespace fff::engine::cuda {
namespace {

constexpr int kGroup = 128;  // columns; the nodes of whole trees
constexpr int kPartsMax = 16;
constexpr int kBlocksWanted = 3;  // a multiprocessor
// Rows of one launch, what they may take between the two products, how many
// rows must fit that; and from where on there is enough to share.
constexpr int64_t kRowsMax = 1024;
constexpr int kRowsTile = 64;
constexpr int64_t kBytesMax = int64_t{64} << 20;
constexpr int64_t kRowsMin = 16;
constexpr int kTreesMin = 4;

using TopShape = ProductShape<WeightOrder::kRowIsColumn, 1, kGroup, 64, 4>;
using OutputShape =
    ProductShape<WeightOrder::kRowIsDepth, kTermsOfFloat, 128, 32, 4, kGroup>;
using TopTile = TopShape::Tile<float>;
using OutputTile = OutputShape::Tile<float>;
constexpr int kTopShared = TopShape::kSharedBytes<float>;
constexpr int kOutputShared = OutputShape::kSharedBytes<float>;

// Trees, and how they fill groups.
struct Groups {
  int nodes;  // a tree
  int trees;  // a group
  int count;
};
__host__ __device__ inline Groups GroupsOf(const PathArgs& layer) {
  const int nodes = (1 << layer.levels) - 1;
  const int trees = kGroup / nodes;
  return {nodes, trees, (layer.trees + trees - 1) / trees};
}

// The numbers that pass, a quarter of one row per thread: the sum of their
// squares, and their bits but the signs.
struct LengthOfRows {
  float& squares;
  unsigned& bits;
  __device__ void operator()(const TopShape::Part& part) const {
    const auto& row = part.rows[0][threadIdx.x / 4];
#pragma unroll
    for (int i = 0; i < TopShape::kVectors / 4; ++i) {
      const uint4 raw =
          row[static_cast<int>(threadIdx.x) % 4 * (TopShape::kVectors / 4) + i];
      const Vector<Bf16> v = Widen<Bf16>(raw);
      squares += Dot(v, v);
      bits |= (raw.x | raw.y | raw.z | raw.w) & 0x7fff7fffu;
    }
  }
};
static_assert(kProductThreads == 4 * kProductRows);

// One row and tree, whose z are in `z`: walks, then leaves activations there.
// By whole warps; `mine.walks` as in Walk.
__device__ inline void KeepPath(const PathArgs& layer, const RowArgs& rows,
                                const Walker& mine, float* z, int64_t path,
                                int lane) {
  const int below = Walk(layer, mine, 0, 0, layer.levels, lane,
                         [&](int level, int place, float value) {
                           z[place] = value;
                           if (rows.margins != nullptr) {
                             rows.margins[path * layer.levels + level] = value;
                           }
                         });
  if (!mine.walks) return;
  // The decision on the last level leads nowhere: back to its parent.
  rows.leaves[path] = (below - 1) / 2 - ((1 << (layer.levels - 1)) - 1);
  // In a heap that counts from 1, `below` + 1 shifted is what it descends from.
  for (int level = 0; level < layer.levels; ++level) {
    float& value = z[((below + 1) >> (layer.levels - level)) - 1];
    value = Activate(layer.activation, value);
  }
  for (int level = 0; level < layer.levels; ++level) {
    const int visited = (below + 1) >> (layer.levels - level);
    for (int node = 1 << level; node < 2 << level; ++node) {
      if (node != visited) z[node - 1] = 0;
    }
  }
}

__global__ void __launch_bounds__(kProductThreads, 2)
    PathMaskedTopKernel(const PathArgs layer, const float* slack,
                        const RowArgs rows, Bf16* hidden) {
  extern __shared__ uint4 shared[];
  __shared__ float lengths[kProductRows];
  const Groups groups = GroupsOf(layer);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first_row = static_cast<int>(blockIdx.x) * kProductRows;
  const int first_tree = static_cast<int>(blockIdx.y) * groups.trees;
  const int trees = min(groups.trees, layer.trees - first_tree);
  const int first_node = first_tree * groups.nodes;
  const int columns = trees * groups.nodes;
  const int vectors = layer.x_pitch / kVector<Bf16>;
  const auto row_at = [&](int place) {
    return RowOf<Bf16>(rows.x, min(first_row + place, rows.rows - 1),
                       layer.x_pitch);
  };
  TensorProduct<TopShape> product;
  float squares = 0;
  unsigned bits = 0;
  product.Multiply(row_at, 0, vectors,
                   {RowOf<Bf16>(layer.x_weights, first_node, layer.x_pitch),
                    layer.x_pitch, columns, vectors},
                   reinterpret_cast<TopShape::Part*>(shared),
                   LengthOfRows{squares, bits});
#pragma unroll
  for (int offset = 1; offset < 4; offset *= 2) {
    squares += __shfl_xor_sync(kAllLanes, squares, offset);
    bits |= __shfl_xor_sync(kAllLanes, bits, offset);
  }
  // A row of zeros, such as fills up a graph's batch, has the same z in every
  // order: no |z| is near.
  if (threadIdx.x % 4 == 0) {
    lengths[threadIdx.x / 4] = bits == 0 ? -1.0f : LengthOf(squares);
  }
  auto& z = *reinterpret_cast<TopTile*>(shared);
  product.ForEachPair([&](int place, int column, float a, float b) {
    if (layer.bias != nullptr) {
      if (column < columns) a += __ldg(layer.bias + first_node + column);
      if (column + 1 < columns)
        b += __ldg(layer.bias + first_node + column + 1);
    }
    *reinterpret_cast<float2*>(&z.values[place][column]) = {a, b};
  });
  __syncthreads();

  for (int i = static_cast<int>(threadIdx.x) - lane; i < trees * kProductRows;
       i += kProductThreads) {
    const int place = (i + lane) % kProductRows;
    const int tree = (i + lane) / kProductRows;
    float* const mine_z = &z.values[place][tree * groups.nodes];
    Walker mine;
    mine.walks = first_row + place < rows.rows;
    mine.x = row_at(place);
    mine.length = lengths[place];
    mine.z = mine_z;
    mine.tree = first_node + tree * groups.nodes;
    mine.slack = slack + mine.tree;
    KeepPath(layer, rows, mine, mine_z,
             int64_t{first_row + place} * layer.trees + first_tree + tree,
             lane);
  }
  __syncthreads();

  constexpr int kWide = kGroup / kVector<Bf16>;
  const int count = min(kProductRows, rows.rows - first_row) * kWide;
  const int pitch = groups.count * kGroup;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kProductThreads) {
    const int column = i % kWide * kVector<Bf16>;
    const float* const from = &z.values[i / kWide][column];
    float v[kVector<Bf16>];
#pragma unroll
    for (int k = 0; k < kVector<Bf16>; ++k) {
      v[k] = column + k < columns ? from[k] : 0.0f;
    }
    Bf16* const to = hidden +
                     int64_t{first_row + i / kWide} * kTermsOfFloat * pitch +
                     static_cast<int>(blockIdx.y) * kGroup + column;
    StoreTerms(v, to, pitch);
  }
}

__global__ void __launch_bounds__(kProductThreads, 2)
    PathMaskedOutputKernel(const PathArgs layer, const RowArgs rows,
                           const Bf16* hidden, float* partials) {
  extern __shared__ uint4 shared[];
  const Groups groups = GroupsOf(layer);
  const auto parts = static_cast<int>(gridDim.z);
  const auto part = static_cast<int>(blockIdx.z);
  const int each = (groups.count + parts - 1) / parts;
  const int begin = min(groups.count, part * each);
  const int end = min(groups.count, begin + each);
  const int first_row = static_cast<int>(blockIdx.x) * kProductRows;
  const int first = static_cast<int>(blockIdx.y) * OutputShape::kColumns;
  const int pitch = groups.count * kGroup;
  const int used = groups.trees * groups.nodes;
  TensorProduct<OutputShape> product;
  product.Multiply(
      [&](int place) {
        const int row = min(first_row + place, rows.rows - 1);
        return RowOf<Bf16>(hidden, row, kTermsOfFloat * pitch) + begin * kGroup;
      },
      pitch, (end - begin) * kGroup / kVector<Bf16>,
      {RowOf<Bf16>(layer.y_weights, int64_t{begin} * used, layer.y_pitch) +
           first,
       layer.y_pitch, layer.trees * groups.nodes - begin * used,
       (layer.y_pitch - first) / kVector<Bf16>, used},
      reinterpret_cast<OutputShape::Part*>(shared));
  auto& sums = *reinterpret_cast<OutputTile*>(shared);
  product.ForEachPair([&sums](int place, int column, float a, float b) {
    *reinterpret_cast<float2*>(&sums.values[place][column]) = {a, b};
  });
  __syncthreads();
  constexpr int kWide = OutputShape::kColumns / kVector<Bf16>;
  const int count = min(kProductRows, rows.rows - first_row) * kWide;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kProductThreads) {
    const int column = i % kWide * kVector<Bf16>;
    if (first + column >= layer.y_pitch) continue;
    const float* const from = &sums.values[i / kWide][column];
    Vector<Bf16> v;
#pragma unroll
    for (int k = 0; k < kVector<Bf16>; ++k) v.v[k] = from[k];
    const int64_t row = first_row + i / kWide;
    const int inside = layer.output_width - first - column;
    if (parts == 1) {
      StoreRow(RowOf<Bf16>(rows.y, row, layer.y_pitch) + first + column, v,
               inside);
    } else {
      StoreRow(partials + (row * parts + part) * layer.y_pitch + first + column,
               v, inside);
    }
  }
}

// Between the two products of a launch.
struct Between {
  int parts = 1;  // that the sums are divided into
  int64_t hidden_bytes = 0;
  int64_t partials_bytes = 0;
  int64_t bytes() const { return hidden_bytes + partials_bytes; }
};
Between BetweenFor(const PathShape& shape, int64_t rows) {
  const Groups groups = GroupsOf(shape.args);
  const int64_t tiles = int64_t{BlocksFor(rows, kProductRows)} *
                        BlocksFor(shape.y_pitch, OutputShape::kColumns);
  Between between;
  between.parts = static_cast<int>(
      std::clamp<int64_t>(kBlocksWanted * shape.device.processors / tiles, 1,
                          std::min(kPartsMax, groups.count)));
  between.hidden_bytes = rows * kTermsOfFloat * groups.count * kGroup *
                         static_cast<int64_t>(sizeof(Bf16));
  if (between.parts > 1) {
    between.partials_bytes = rows * between.parts * PartialBytes(shape);
  }
  return between;
}

bool Supports(const PathShape& shape) {
  const int nodes_max = kGroup;
  return shape.type == WeightType::kBf16 && shape.trees > 1 &&
         (1 << shape.args.levels) - 1 <= nodes_max && WarpHoldsRow(shape) &&
         GroupsOf(shape.args).count <= kGridMax &&
         shape.y_pitch <= kGridMax * OutputShape::kColumns &&
         BetweenFor(shape, kRowsTile).bytes() <= kBytesMax;
}

std::vector<int> Variants(const PathShape& shape, const Ask& ask) {
  const bool many = ask.rows >= kRowsMin && shape.trees >= kTreesMin;
  return OneIf(many || ask.all);
}

ScratchNeed Needs(const PathShape& shape, int64_t rows_max) {
  ScratchNeed need;
  need.bytes = std::min(
      kBytesMax, BetweenFor(shape, std::min(kRowsMax, rows_max)).bytes());
  return need;
}

// TensorPacking's slack, on the device.
struct Slack : KernelState {
  int64_t bytes() const override { return buffer.size(); }
  Buffer buffer;
};

absl::StatusOr<std::shared_ptr<const KernelState>> Prepare(
    const PathShape&, const PathWeights& weights, Device& device) {
  if (!FitsBf16(weights.x) || !FitsBf16(weights.y)) return nullptr;
  FFF_ASSIGN_OR_RETURN(const bool fits,
                       AllowShared({{PathMaskedTopKernel, kTopShared},
                                    {PathMaskedOutputKernel, kOutputShared}}));
  if (!fits) return nullptr;
  auto slack = std::make_shared<Slack>();
  FFF_ASSIGN_OR_RETURN(slack->buffer, UploadSlack(device, weights));
  return slack;
}

absl::Status LaunchPiece(const PathShape& shape, const RowArgs& rows,
                         const Between& between, const LaunchArgs& launch) {
  auto* const hidden = reinterpret_cast<Bf16*>(launch.scratch.bytes);
  auto* const partials =
      reinterpret_cast<float*>(launch.scratch.bytes + between.hidden_bytes);
  const auto& slack = static_cast<const Slack&>(*launch.state);
  const unsigned tiles = BlocksFor(rows.rows, kProductRows);
  const auto groups = static_cast<unsigned>(GroupsOf(shape.args).count);
  const unsigned columns = BlocksFor(shape.y_pitch, OutputShape::kColumns);
  PathMaskedTopKernel<<<dim3(tiles, groups), kProductThreads, kTopShared,
                        StreamOf(launch)>>>(
      shape.args, slack.buffer.As<const float>(), rows, hidden);
  PathMaskedOutputKernel<<<dim3(tiles, columns,
                                static_cast<unsigned>(between.parts)),
                           kProductThreads, kOutputShared, StreamOf(launch)>>>(
      shape.args, rows, hidden, partials);
  FFF_RETURN_IF_ERROR(Launched());
  if (between.parts == 1) return absl::OkStatus();
  return SumPartials(shape, partials, rows, between.parts, launch.stream);
}

absl::Status LaunchAll(const PathShape& shape, const LaunchArgs& launch) {
  const int64_t room = launch.scratch.size;
  int64_t together = std::min<int64_t>(kRowsMax, launch.rows.rows);
  while (together > kRowsTile && BetweenFor(shape, together).bytes() > room) {
    together = (together / 2 + kRowsTile - 1) / kRowsTile * kRowsTile;
  }
  return InPieces(shape, launch.rows, together, [&](const RowArgs& rows) {
    Between between = BetweenFor(shape, rows.rows);
    // Fewer rows may be divided into more parts.
    if (between.bytes() > room) between = BetweenFor(shape, together);
    return LaunchPiece(shape, rows, between, launch);
  });
}

}  // namespace

DevicePathKernel PathMasked() {
  return {"path_masked", kAllNodesOwnSums, Supports, Variants,
          Needs,         LaunchAll,        Prepare};
}

}  // namespace fff::engine::cuda

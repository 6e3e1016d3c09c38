// path_tiled: many trees; blocks of rows descend together, groups of trees are
// combined together.
//
//   x [rows, I], X [trees * nodes, I], Y [trees * nodes, O] -> y [rows, O]
//
// For chunks of rows and groups of trees whose weights fit in L2 together:
// 1. A block of rows, small enough for L1, descends tree by tree. On each level
//    the rows that stand at one node stand side by side, so that its weights
//    are loaded once for up to six of them.
// 2. Activate all z of the chunk and group in one vector pass.
// 3. y += act(z) * Y[n] over the group's visited nodes, 16 vectors of columns
//    at a time for all rows of the chunk, so that this panel of Y stays in L1.
// Nodes are added in the order of path_walk, so y has its bits.
//
// Work is split by rows. A row takes 2 * trees * levels * (I + O) FLOPs; a
// chunk reads the weights once.
//
// 128 trees of 768 -> 768, us per row on one thread of a Zen 5 and how many
// times as long the faster of path_walk and path_two_phase took (`kernel_bench
// --benchmark_filter='path/.*/768-768-l.-t128/'`):
//
//   rows     1 level     2 levels    3 levels     4 levels     5 levels
//   16       3.5 1.6x    7.4 1.3x    12.9 1.2x    22.1 0.98x   50.4 0.94x
//   256      3.1 2.1x    6.4 1.6x    11.2 1.4x    19.7 1.2x    29.8 1.6x
//   2,048    3.2 2.0x    6.5 1.6x    11.2 1.4x    19.9 1.2x    29.3 1.7x
//
// One row is faster by path_walk (0.6 to 0.7x). What is left above the bound
// of the multipliers: rows of X that come from L2 while x fills L1. Tried and
// dropped (no difference): weighted sums of 2 rows by 8 or 12 and of 3 rows by
// 8 vectors in place of 1 by 16.
#include <algorithm>
#include <utility>

#include "server/engine/cpu/batch_shape.h"
#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/path_tiled.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/block-inl.h"

#ifndef FFF_ENGINE_CPU_PATH_TILED_ONCE
#define FFF_ENGINE_CPU_PATH_TILED_ONCE
namespace fff::engine {

struct PathTiledArgs {
  const PathWeights* weights;
  int64_t chunk_rows;  // rows that go through all groups of trees together
  int64_t block_rows;  // rows that descend together, at most kBlockRowsMax
  int64_t group;       // trees that go through all steps together
  tensor::ConstRows x;
  tensor::MutableRows y;
  RouteSink routes;
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Vectors of one weighted sum, in 32 registers with AVX-512 and 16 without.
constexpr int kSumVectors = HWY_LANES(float) >= 16 ? 16 : 8;

// One chunk of rows and one group of trees between the steps.
struct TiledChunk {
  int64_t first_row;
  int64_t rows;
  int64_t first_tree;
  int64_t trees;
  int64_t values;  // of a row: trees * levels
  float* z;        // [rows, values]
  int32_t* node;   // [rows, values], counted from the group's first node
  int32_t* leaf;   // [rows, trees]
};

// Rows [begin, begin + block.count) of the chunk down tree t of the group.
template <class W>
HWY_INLINE void DescendBlock(const PathTiledArgs& args, const TiledChunk& chunk,
                             const Router<W>& tree, int64_t t, int64_t begin,
                             Block& block) {
  const PathProblem& p = args.weights->problem;
  const auto first = static_cast<int32_t>(t * p.nodes());
  for (int i = 0; i < block.count; ++i) {
    block.order[i] = i;
    block.at[i] = 0;
  }
  for (int level = 0; level < p.levels; ++level) {
    for (int i = 0; i < block.count; ++i) {
      block.x[i] = args.x.row(chunk.first_row + begin + block.order[i]);
    }
    for (int i = 0; i < block.count;) {
      const int32_t node = block.at[block.order[i]];
      int j = i + 1;
      while (j < block.count && block.at[block.order[j]] == node) ++j;
      DotRun(tree, block.x + i, j - i, node, block.z + i);
      for (int k = i; k < j; ++k) {
        const int64_t value =
            (begin + block.order[k]) * chunk.values + t * p.levels + level;
        chunk.z[value] = block.z[k];
        chunk.node[value] = first + node;
      }
      Part(tree, node, i, j, block);
      i = j;
    }
    std::copy(block.next, block.next + block.count, block.order);
  }
  const int32_t below = LevelBegin(p.levels);
  for (int i = 0; i < block.count; ++i) {
    chunk.leaf[(begin + i) * chunk.trees + t] = (block.at[i] - below) / 2;
  }
}

template <class W>
HWY_INLINE void DescendGroup(const PathTiledArgs& args,
                             const TiledChunk& chunk) {
  const PathProblem& p = args.weights->problem;
  const WeightRows<W> rows =
      RowsOf<W>(args.weights->x, p.input_width, args.weights->reduced_x);
  Block block;
  for (int64_t begin = 0; begin < chunk.rows; begin += args.block_rows) {
    block.count =
        static_cast<int>(std::min(args.block_rows, chunk.rows - begin));
    for (int64_t t = 0; t < chunk.trees; ++t) {
      const int64_t first = (chunk.first_tree + t) * p.nodes();
      const Router<W> tree = {
          rows.From(first),
          p.has_bias ? args.weights->bias.data() + first : nullptr,
          p.input_width, p.tie == Tie::kRight};
      DescendBlock(args, chunk, tree, t, begin, block);
    }
  }
}

HWY_INLINE void ReportTiled(const PathTiledArgs& args,
                            const TiledChunk& chunk) {
  const PathProblem& p = args.weights->problem;
  for (int64_t r = 0; r < chunk.rows; ++r) {
    const int64_t to = (chunk.first_row + r) * p.trees + chunk.first_tree;
    if (args.routes.leaves != nullptr) {
      std::copy(chunk.leaf + r * chunk.trees,
                chunk.leaf + (r + 1) * chunk.trees, args.routes.leaves + to);
    }
    if (args.routes.margins != nullptr) {
      std::copy(chunk.z + r * chunk.values, chunk.z + (r + 1) * chunk.values,
                args.routes.margins + to * p.levels);
    }
  }
}

// Adds the weighted output rows of the group to all rows of the chunk, in
// kVectors vectors of columns from `col` on. Not inlined, where gcc 12 would
// keep every address in a register of its own.
template <int kVectors, class W>
HWY_NOINLINE void AddPanel(const WeightRows<W>& rows, const TiledChunk& chunk,
                           int64_t col, const tensor::MutableRows& to) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const W* const base = rows.data + col;
  const int64_t stride = rows.stride;
  const int32_t* node = chunk.node;
  const float* a = chunk.z;
  for (int64_t r = 0; r < chunk.rows; ++r) {
    float* y = to.row(r) + col;
    V acc[kVectors];
    for (int c = 0; c < kVectors; ++c) {
      acc[c] = chunk.first_tree > 0 ? hn::LoadU(d, y + c * lanes) : hn::Zero(d);
    }
    for (int64_t s = 0; s < chunk.values; ++s) {
      const V factor = hn::Set(d, a[s]);
      const W* source = base + node[s] * stride;
      for (int c = 0; c < kVectors; ++c) {
        acc[c] = hn::MulAdd(factor, LoadWeights(d, source + c * lanes), acc[c]);
      }
    }
    for (int c = 0; c < kVectors; ++c) hn::StoreU(acc[c], d, y + c * lanes);
    node += chunk.values;
    a += chunk.values;
  }
}

// The last, partial vector of columns.
template <class W>
HWY_NOINLINE void AddTail(const WeightRows<W>& rows, const TiledChunk& chunk,
                          int64_t col, const tensor::MutableRows& to) {
  const D d;
  const auto part = static_cast<size_t>(to.width - col);
  for (int64_t r = 0; r < chunk.rows; ++r) {
    float* y = to.row(r) + col;
    V acc = chunk.first_tree > 0 ? LoadFirst(d, y, part) : hn::Zero(d);
    for (int64_t s = r * chunk.values; s < (r + 1) * chunk.values; ++s) {
      const W* source = rows.Row(chunk.node[s]) + col;
      acc = hn::MulAdd(hn::Set(d, chunk.z[s]),
                       LoadWeightsFirst(d, source, part), acc);
    }
    StoreFirst(acc, d, y, part);
  }
}

template <class W>
HWY_INLINE void CombineGroup(const PathTiledArgs& args,
                             const TiledChunk& chunk) {
  const PathProblem& p = args.weights->problem;
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const WeightRows<W> rows =
      RowsOf<W>(args.weights->y, p.output_width, args.weights->reduced_y)
          .From(chunk.first_tree * p.nodes());
  if (rows.scale != nullptr) {
    for (int64_t i = 0; i < chunk.rows * chunk.values; ++i) {
      chunk.z[i] = rows.Scaled(chunk.z[i], chunk.node[i]);
    }
  }
  const tensor::MutableRows to = {args.y.row(chunk.first_row), chunk.rows,
                                  p.output_width};
  int64_t col = 0;
  for (; col + kSumVectors * lanes <= p.output_width;
       col += kSumVectors * lanes) {
    AddPanel<kSumVectors>(rows, chunk, col, to);
  }
  for (; col + 4 * lanes <= p.output_width; col += 4 * lanes) {
    AddPanel<4>(rows, chunk, col, to);
  }
  for (; col + lanes <= p.output_width; col += lanes) {
    AddPanel<1>(rows, chunk, col, to);
  }
  if (col < p.output_width) AddTail(rows, chunk, col, to);
}

template <class W>
HWY_INLINE void TiledRows(const PathTiledArgs& args, int64_t begin, int64_t end,
                          Workspace& workspace) {
  const PathProblem& p = args.weights->problem;
  for (int64_t row = begin; row < end; row += args.chunk_rows) {
    for (int64_t tree = 0; tree < p.trees; tree += args.group) {
      ScratchScope scratch(workspace);
      TiledChunk chunk;
      chunk.first_row = row;
      chunk.rows = std::min(args.chunk_rows, end - row);
      chunk.first_tree = tree;
      chunk.trees = std::min(args.group, p.trees - tree);
      chunk.values = chunk.trees * p.levels;
      chunk.z = scratch.Floats(chunk.rows * chunk.values);
      chunk.node = scratch.Ints(chunk.rows * chunk.values);
      chunk.leaf = scratch.Ints(chunk.rows * chunk.trees);
      DescendGroup<W>(args, chunk);
      ReportTiled(args, chunk);
      ActivateInPlace(p.activation, chunk.z, chunk.rows * chunk.values);
      CombineGroup<W>(args, chunk);
    }
  }
}

void PathTiledRows(const PathTiledArgs& args, int64_t begin, int64_t end,
                   Workspace& workspace) {
  switch (args.weights->problem.precision) {
    case Precision::kBf16:
      return TiledRows<Bf16>(args, begin, end, workspace);
    case Precision::kInt8:
      return TiledRows<int8_t>(args, begin, end, workspace);
    default:
      return TiledRows<float>(args, begin, end, workspace);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(PathTiledRows);

namespace {

// Zen 5, 768 -> 768, 256 rows, us per row. 128 trees of 2 levels:
//   blocks of 6, 9, 12, 18 and 48 rows 8.0, 7.4, 6.9, 7.6 and 8.1
//   chunks of 48, 96 and 256 rows 7.0, 7.0 and 7.4
//   groups of 12, 24 and 48 levels 7.6, 7.0 and 8.4.
// Of 5 levels:
//   blocks of 16, 24 and 48 rows 33, 32 and 31
//   chunks of 96 and 256 rows 41 and 31.
constexpr int64_t kBlockBytes = 36 << 10;  // rows of x in L1
constexpr int64_t kDeepBlockRows = 48;
static_assert(kDeepBlockRows <= kBlockRowsMax);
constexpr int64_t kChunkBytes = 576 << 10;  // rows of x and y in L2
constexpr int64_t kCachedBytes = int64_t{8} << 20;
constexpr int64_t kManyRowsFactor = 3;
constexpr int64_t kGroupLevels = 24;
constexpr int64_t kGroupBytes = 384 << 10;  // rows of X in L2

// Trees of few levels meet rows that stay in L1. Deeper ones need more rows, so
// that several still stand at one node of the bottom.
int64_t BlockRows(const PathProblem& p) {
  if (p.levels >= 5) return kDeepBlockRows;
  return std::clamp<int64_t>(kBlockBytes / 4 / p.input_width, 4,
                             kDeepBlockRows);
}

// All weights are read once a chunk, so where they come from L3 or beyond,
// chunks are larger than L2 would have them.
int64_t ChunkRows(const PathProblem& p) {
  const int64_t width = p.input_width + p.output_width;
  const int64_t weights =
      p.trees * p.nodes() * width * BytesAWeight(p.precision);
  const int64_t rows =
      kChunkBytes / 4 / width * (weights > kCachedBytes ? kManyRowsFactor : 1);
  return std::clamp<int64_t>(rows, 16, 512);
}

int64_t Group(const PathProblem& p) {
  const int64_t tree = p.nodes() * p.input_width * BytesAWeight(p.precision);
  return std::clamp<int64_t>(
      std::min(kGroupLevels / p.levels, kGroupBytes / tree), 1, p.trees);
}

class PathTiledKernel : public Kernel {
 public:
  explicit PathTiledKernel(std::shared_ptr<const PathWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "path_tiled"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const PathProblem& p = weights_->problem;
    const PathTiledArgs args = {
        weights_.get(), ChunkRows(p), BlockRows(p), Group(p), x, y, routes};
    context.ParallelFor(x.rows, 16,
                        [&](int64_t begin, int64_t end, int thread) {
                          HWY_DYNAMIC_DISPATCH(PathTiledRows)
                          (args, begin, end, context.workspace(thread));
                        });
  }

 private:
  std::shared_ptr<const PathWeights> weights_;
};

// For many trees: fewer do not fill the weighted sums of a group.
bool Supports(const PathProblem& p) { return p.trees >= 4; }

// us per MB of weights on the way, one Zen 5 thread, 128 trees of 768->768 and
// 1, 2, 3, 4, 5 levels:
//   3.8, 4.2, 4.9, 6.3, 7.4 at 256 rows
//   4.2, 4.9, 5.6, 6.9, 12 at 16
//   5.6, 7.0, 8.0, 9.2, 14 at 4
//   13, 16, 17, 17, 24 at one.
double Cost(const PathProblem& p, int64_t rows) {
  const double bytes = 4.0 * static_cast<double>(p.trees * p.levels) *
                       static_cast<double>(p.input_width + p.output_width);
  const double us_a_byte = 0.3e-5 + 0.09e-5 * p.levels;
  return 0.2 + bytes * (1.1e-5 + us_a_byte * static_cast<double>(rows));
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const PathWeights> weights) {
  return std::make_unique<PathTiledKernel>(std::move(weights));
}

}  // namespace

PathKernelEntry PathTiled() {
  return {"path_tiled", false, Supports, Cost, Make};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

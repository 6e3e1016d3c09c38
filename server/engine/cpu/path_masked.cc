// path_masked: all nodes of all trees; what lies beside the path is masked.
//
//   x [rows, I], X [trees * nodes, I], Y [trees * nodes, O] -> y [rows, O]
//
// For chunks of 48 rows and groups of about 48 nodes, which fit in L2 together:
// 1. z of every node, a matrix product in register tiles. Each tile is the dot
//    product of the walking kernels (DotTile), so z, and with it every route,
//    has their bits and no near tie needs a second look.
// 2. Rows walk each tree by their z, a vector of rows at a time: act(z) stays
//    on the path, all else becomes zero.
// 3. y += what is left times Y, a matrix product in register tiles. Nodes are
//    added in the order of path_walk, and adding 0 * Y changes nothing, so y
//    has its bits, too (but for the sign of a zero). Weights are finite: 0 *
//    infinity would not be nothing.
//
// Work is split by rows. A row takes 2 * trees * nodes * (I + O) FLOPs, of
// which levels / nodes serve; a chunk reads all weights. It pays where trees
// have one or two levels: rows that share weights keep the multipliers busy.
// 128 trees of 768 -> 768, us per row on one thread of a Zen 5 and how many
// times as long path_tiled took, the best of the others (`kernel_bench
// --benchmark_filter='path/.*/768-768-l.-t128/'`):
//
//   rows      1 level      2 levels     3 levels     4 levels
//   16        2.2  1.6x    6.2  1.2x    14.3 0.9x    34   0.6x
//   256       2.0  1.6x    5.9  1.1x    13.7 0.8x    37   0.5x
//   2,048     2.0  1.6x    5.8  1.1x    14.0 0.8x    32   0.6x
//
// One row is slower than path_walk (0.8x, 0.6x, 0.5x). oneDNN's two products
// alone, which decide nothing and add in another order, take 0.81 to 0.91 of
// the time of 1 and 2 levels (`fffctl benchmark --in-process
// --case=path-768-t128-l5 --depths=0,1 --rows=256 --twin-only --engine=auto`).
// They would have to be followed by a second look at every z below a rounding
// bound, and y would not be the same from batch to batch.
#include <algorithm>
#include <utility>

#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/path_masked.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/descent-inl.h"
#include "server/engine/cpu/mask-inl.h"

#ifndef FFF_ENGINE_CPU_PATH_MASKED_ONCE
#define FFF_ENGINE_CPU_PATH_MASKED_ONCE
namespace fff::engine {

struct PathMaskedArgs {
  const PathWeights* weights;
  int64_t chunk_rows;   // rows that go through all groups together
  int64_t group;        // trees that go through all steps together
  int64_t block_nodes;  // nodes whose rows of X stay in L1
  tensor::ConstRows x;
  tensor::MutableRows y;
  RouteSink routes;
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Tiles that fill the registers of the target, 32 of them with AVX-512 and 16
// without. Step 1: rows x nodes of four partial sums each. Step 3: rows x
// vectors of columns. Zen 5, us per row for 128 trees of 2 levels, whole
// kernel:
//   step 1 by 3 x 2 6.6, 2 x 2 6.6, 6 x 1 7.1;
//   step 3 by 8 x 3 6.6, 6 x 4 6.7, 4 x 6 6.7, 12 x 2 6.7.
constexpr bool kManyRegisters = HWY_LANES(float) >= 16;
constexpr int kDotRows = 3;
constexpr int kDotNodes = kManyRegisters ? 2 : 1;
constexpr int kSumRows = kManyRegisters ? 8 : 6;
constexpr int kSumVectors = kManyRegisters ? 3 : 2;

// One chunk of rows and one group of trees between the steps.
struct MaskedChunk {
  int64_t first_row;
  int64_t rows;
  int64_t first_tree;
  int64_t trees;
  int64_t nodes;   // of all trees
  int64_t stride;  // floats from node to node: rows, in whole vectors
  float* z;        // [nodes, stride]
  Router<float> router;
};

template <int kRows, int kNodes>
HWY_INLINE void DotsOf(const PathMaskedArgs& args, const MaskedChunk& chunk,
                       int64_t node, int64_t row) {
  const float* w[1][kNodes];
  const float* x[kRows];
  float dot[kRows][kNodes];
  for (int k = 0; k < kNodes; ++k) w[0][k] = chunk.router.weights.Row(node + k);
  for (int r = 0; r < kRows; ++r) {
    x[r] = args.x.row(chunk.first_row + row + r);
  }
  DotTile<true, kRows, kNodes, float>(w, x, chunk.router.width, dot);
  for (int k = 0; k < kNodes; ++k) {
    float* z = chunk.z + (node + k) * chunk.stride + row;
    for (int r = 0; r < kRows; ++r) {
      z[r] = chunk.router.Z(dot[r][k], static_cast<int32_t>(node + k));
    }
  }
}

template <int kRows>
HWY_INLINE void DotsOfRows(const PathMaskedArgs& args, const MaskedChunk& chunk,
                           int64_t begin, int64_t end, int64_t row) {
  int64_t node = begin;
  for (; node + kDotNodes <= end; node += kDotNodes) {
    DotsOf<kRows, kDotNodes>(args, chunk, node, row);
  }
  for (; node < end; ++node) DotsOf<kRows, 1>(args, chunk, node, row);
}

HWY_INLINE void AllDots(const PathMaskedArgs& args, const MaskedChunk& chunk) {
  for (int64_t node = 0; node < chunk.nodes; node += args.block_nodes) {
    const int64_t end = std::min(node + args.block_nodes, chunk.nodes);
    int64_t row = 0;
    for (; row + kDotRows <= chunk.rows; row += kDotRows) {
      DotsOfRows<kDotRows>(args, chunk, node, end, row);
    }
    for (; row < chunk.rows; ++row) {
      DotsOfRows<1>(args, chunk, node, end, row);
    }
  }
}

template <int kRows, int kVectors>
HWY_INLINE void AddColumns(const PathMaskedArgs& args, const MaskedChunk& chunk,
                           const float* weights, int64_t row, int64_t col) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t width = args.y.width;
  const bool first = chunk.first_tree == 0;
  float* y[kRows];
  V acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    y[r] = args.y.row(chunk.first_row + row + r) + col;
    for (int c = 0; c < kVectors; ++c) {
      acc[r][c] = first ? hn::Zero(d) : hn::LoadU(d, y[r] + c * lanes);
    }
  }
  const float* a = chunk.z + row;
  const float* w = weights + col;
  for (int64_t k = 0; k < chunk.nodes; ++k) {
    V source[kVectors];
    for (int c = 0; c < kVectors; ++c) source[c] = hn::LoadU(d, w + c * lanes);
    for (int r = 0; r < kRows; ++r) {
      const V factor = hn::Set(d, a[r]);
      for (int c = 0; c < kVectors; ++c) {
        acc[r][c] = hn::MulAdd(factor, source[c], acc[r][c]);
      }
    }
    a += chunk.stride;
    w += width;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kVectors; ++c) {
      hn::StoreU(acc[r][c], d, y[r] + c * lanes);
    }
  }
}

// The last, partial vector of one row.
HWY_INLINE void AddTail(const PathMaskedArgs& args, const MaskedChunk& chunk,
                        const float* weights, int64_t row, int64_t col) {
  const D d;
  const auto part = static_cast<size_t>(args.y.width - col);
  float* y = args.y.row(chunk.first_row + row) + col;
  V acc = chunk.first_tree == 0 ? hn::Zero(d) : LoadFirst(d, y, part);
  for (int64_t k = 0; k < chunk.nodes; ++k) {
    acc = hn::MulAdd(hn::Set(d, chunk.z[k * chunk.stride + row]),
                     LoadFirst(d, weights + k * args.y.width + col, part), acc);
  }
  StoreFirst(acc, d, y, part);
}

template <int kVectors>
HWY_INLINE void AddPanel(const PathMaskedArgs& args, const MaskedChunk& chunk,
                         const float* weights, int64_t col) {
  int64_t row = 0;
  for (; row + kSumRows <= chunk.rows; row += kSumRows) {
    AddColumns<kSumRows, kVectors>(args, chunk, weights, row, col);
  }
  constexpr int kHalf = kSumRows / 2;
  for (; row + kHalf <= chunk.rows; row += kHalf) {
    AddColumns<kHalf, kVectors>(args, chunk, weights, row, col);
  }
  for (; row < chunk.rows; ++row) {
    AddColumns<1, kVectors>(args, chunk, weights, row, col);
  }
}

HWY_INLINE void AddAll(const PathMaskedArgs& args, const MaskedChunk& chunk) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t width = args.y.width;
  const float* weights =
      args.weights->y.data() +
      chunk.first_tree * args.weights->problem.nodes() * width;
  int64_t col = 0;
  for (; col + kSumVectors * lanes <= width; col += kSumVectors * lanes) {
    AddPanel<kSumVectors>(args, chunk, weights, col);
  }
  for (; col + lanes <= width; col += lanes) {
    AddPanel<1>(args, chunk, weights, col);
  }
  if (col == width) return;
  for (int64_t row = 0; row < chunk.rows; ++row) {
    AddTail(args, chunk, weights, row, col);
  }
}

// Walks every row by its z once more, for those who asked.
HWY_INLINE void ReportMasked(const PathMaskedArgs& args,
                             const MaskedChunk& chunk) {
  const PathProblem& p = args.weights->problem;
  if (args.routes.leaves == nullptr && args.routes.margins == nullptr) return;
  for (int64_t r = 0; r < chunk.rows; ++r) {
    for (int64_t t = 0; t < chunk.trees; ++t) {
      const int64_t to = (chunk.first_row + r) * p.trees + chunk.first_tree + t;
      const float* z = chunk.z + t * p.nodes() * chunk.stride + r;
      int32_t node = 0;
      for (int level = 0; level < p.levels; ++level) {
        const float value = z[node * chunk.stride];
        if (args.routes.margins != nullptr) {
          args.routes.margins[to * p.levels + level] = value;
        }
        node = 2 * node + 1 + chunk.router.Right(value);
      }
      if (args.routes.leaves != nullptr) {
        args.routes.leaves[to] = (node - LevelBegin(p.levels)) / 2;
      }
    }
  }
}

// Fills the gaps after each node's rows, which step 2 reads.
HWY_INLINE void ClearGaps(const MaskedChunk& chunk) {
  for (int64_t k = 0; k < chunk.nodes; ++k) {
    std::fill(chunk.z + k * chunk.stride + chunk.rows,
              chunk.z + (k + 1) * chunk.stride, 0.0f);
  }
}

HWY_INLINE MaskedChunk ChunkAt(const PathMaskedArgs& args, int64_t row,
                               int64_t rows, int64_t tree,
                               ScratchScope& scratch) {
  const PathProblem& p = args.weights->problem;
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t first = tree * p.nodes();
  MaskedChunk chunk;
  chunk.first_row = row;
  chunk.rows = rows;
  chunk.first_tree = tree;
  chunk.trees = std::min(args.group, p.trees - tree);
  chunk.nodes = chunk.trees * p.nodes();
  chunk.stride = (rows + lanes - 1) / lanes * lanes;
  chunk.z = scratch.Floats(chunk.nodes * chunk.stride);
  chunk.router = {
      {args.weights->x.data() + first * p.input_width, p.input_width, nullptr},
      p.has_bias ? args.weights->bias.data() + first : nullptr,
      p.input_width,
      p.tie == Tie::kRight};
  return chunk;
}

void PathMaskedRows(const PathMaskedArgs& args, int64_t begin, int64_t end,
                    Workspace& workspace) {
  const PathProblem& p = args.weights->problem;
  for (int64_t row = begin; row < end; row += args.chunk_rows) {
    const int64_t rows = std::min(args.chunk_rows, end - row);
    for (int64_t tree = 0; tree < p.trees; tree += args.group) {
      ScratchScope scratch(workspace);
      const MaskedChunk chunk = ChunkAt(args, row, rows, tree, scratch);
      AllDots(args, chunk);
      ClearGaps(chunk);
      ReportMasked(args, chunk);
      for (int64_t t = 0; t < chunk.trees; ++t) {
        Mask(p, chunk.stride, chunk.z + t * p.nodes() * chunk.stride);
      }
      AddAll(args, chunk);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(PathMaskedRows);

namespace {

// Zen 5, 128 trees of 2 levels, us per row, at three stages of the code:
//   chunks of 24, 48 and 96 rows 7.3, 7.1 and 7.1
//   groups of 24 to 192 nodes 7.0 to 7.1
//   blocks of 6, 12, 18, 24 and 36 KB 8.0, 6.9, 6.8, 6.7 and 6.7.
constexpr int64_t kChunkRows = 48;
constexpr int64_t kGroupNodes = 48;
constexpr int64_t kBlockBytes = 24 << 10;
constexpr int64_t kBlockNodes = 2;  // a multiple of any tile's nodes

class PathMaskedKernel : public Kernel {
 public:
  explicit PathMaskedKernel(std::shared_ptr<const PathWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "path_masked"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const PathProblem& p = weights_->problem;
    PathMaskedArgs args;
    args.weights = weights_.get();
    args.chunk_rows = kChunkRows;
    args.group = std::clamp<int64_t>(kGroupNodes / p.nodes(), 1, p.trees);
    args.block_nodes =
        std::max<int64_t>(kBlockBytes / 4 / p.input_width / kBlockNodes, 1) *
        kBlockNodes;
    args.x = x;
    args.y = y;
    args.routes = routes;
    context.ParallelFor(x.rows, 16,
                        [&](int64_t begin, int64_t end, int thread) {
                          HWY_DYNAMIC_DISPATCH(PathMaskedRows)
                          (args, begin, end, context.workspace(thread));
                        });
  }

 private:
  std::shared_ptr<const PathWeights> weights_;
};

bool Supports(const PathProblem& p) { return p.precision == Precision::kFp32; }

// us on one Zen 5 thread, 768->768: 1.09e-5 a multiply-add and row from 256
// rows on (128 trees of 1, 2 and 3 levels alike), 1.2e-5 at 16 rows, 1.8e-5 at
// 4 and 4e-5 to 5.5e-5 at one.
double Cost(const PathProblem& p, int64_t rows) {
  const double macs = static_cast<double>(p.trees * p.nodes()) *
                      static_cast<double>(p.input_width + p.output_width);
  const double us = 0.2 + macs * (3e-5 + 1.1e-5 * static_cast<double>(rows));
  // Few small trees lie in L1 and L2, where path_two_phase takes a half to two
  // thirds of what it predicts for deep ones. One tree of 768->768 and 2, 3, 4,
  // 5 levels, 256 rows on a Zen 4: 0.87, 1.25, 2.0 and 3.2 times its time.
  return p.trees >= 4 ? us : 3 * us;
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const PathWeights> weights) {
  return std::make_unique<PathMaskedKernel>(std::move(weights));
}

}  // namespace

PathKernelEntry PathMasked() {
  return {"path_masked",
          false,
          Supports,
          Cost,
          Make,
          {/*own_order_of_sums=*/false, /*evaluates_beside_path=*/true}};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

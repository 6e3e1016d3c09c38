// path_two_phase: many rows; descend all, sort by leaf, combine in that order.
//
//   x [rows, I], X [trees * nodes, I], Y [trees * nodes, O] -> y [rows, O]
//
// 1. Descend all rows of a chunk, blocked for L1 and L2 (descent-inl.h).
// 2. Activate all z of the chunk in one vector pass.
// 3. Sort the rows by leaf: neighbours now share most of their path.
// 4. Combine four neighbours at a time: Y rows of the common part of their
//    paths are loaded once for the four; y is written once and never read.
//    Outputs above 8 MB go past the caches (non-temporal stores).
// Several small trees take step 4 together, 16 levels at a time.
//
// Work is split by rows; each thread sorts its own. A row reads at most
// 4 * trees * levels * (I + O) bytes of weights, most of them from L1 or L2,
// and takes half as many FLOPs. Benchmark case: path-768-l12, 16,384 rows:
// 9.7 ms, 8.4 with weights of bf16, but 11.9 with int8 (Zen 5), whose weights
// take two instructions more a vector where they come from the caches.
#include <algorithm>
#include <utility>

#include "server/base/cpu_info.h"
#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/path_two_phase.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/descent-inl.h"
#include "server/engine/cpu/path-inl.h"

#ifndef FFF_ENGINE_CPU_PATH_TWO_PHASE_ONCE
#define FFF_ENGINE_CPU_PATH_TWO_PHASE_ONCE
namespace fff::engine {

struct PathTwoPhaseArgs {
  const PathWeights* weights;
  BatchShape shape;
  int64_t chunk_rows;  // rows that go through all steps together
  int64_t group;       // trees that go through step 4 together
  tensor::ConstRows x;
  tensor::MutableRows y;
  RouteSink routes;
  bool stream;
};

// Levels of all trees of one group at most: 16, or one tree of kLevelsMax.
constexpr int kGroupLevelsMax = kLevelsMax;

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Rows combined together and vectors of columns of each. Zen 5, 16,384 rows of
// path-768-l12, whole batch: 4 x 2 10.6 ms, 4 x 3 10.9, 4 x 4 11.2, 8 x 2 11.4.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 2;

// One chunk of rows and one group of trees between the steps.
struct Chunk {
  int64_t first_row;
  int64_t rows;
  int64_t first_tree;
  int64_t trees;
  float* z;                        // [rows, trees, levels]
  int32_t* leaf;                   // [trees, rows]
  const int32_t* order = nullptr;  // [rows]
};

template <class W>
HWY_INLINE void DescendTree(const PathTwoPhaseArgs& args, int64_t tree,
                            Chunk& chunk, ScratchScope& scratch) {
  const PathProblem& p = args.weights->problem;
  const int64_t first = (chunk.first_tree + tree) * p.nodes();
  const WeightRows<W> rows =
      RowsOf<W>(args.weights->x, p.input_width, args.weights->reduced_x);
  const Walk<W> walk = {
      {rows.From(first),
       p.has_bias ? args.weights->bias.data() + first : nullptr, p.input_width,
       p.tie == Tie::kRight},
      p.levels,
      args.x.row(chunk.first_row),
      chunk.rows,
      chunk.z + tree * p.levels,
      chunk.trees * p.levels,
      chunk.leaf + tree * chunk.rows};
  chunk.order = DescendAll(walk, args.shape, scratch);
  // From the node below the bottom back to its parent, counted from the left.
  const int32_t below = LevelBegin(p.levels);
  for (int64_t r = 0; r < chunk.rows; ++r) {
    walk.node[r] = (walk.node[r] - below) / 2;
  }
}

HWY_INLINE void ReportRoutes(const PathTwoPhaseArgs& args, const Chunk& chunk) {
  const PathProblem& p = args.weights->problem;
  const int64_t values = chunk.trees * p.levels;
  for (int64_t r = 0; r < chunk.rows; ++r) {
    const int64_t to = (chunk.first_row + r) * p.trees + chunk.first_tree;
    if (args.routes.leaves != nullptr) {
      for (int64_t t = 0; t < chunk.trees; ++t) {
        args.routes.leaves[to + t] = chunk.leaf[t * chunk.rows + r];
      }
    }
    if (args.routes.margins != nullptr) {
      std::copy(chunk.z + r * values, chunk.z + (r + 1) * values,
                args.routes.margins + to * p.levels);
    }
  }
}

// Y rows of one row's paths, tree by tree, root first. The row's activated z
// are multiplied with their scales.
template <class W>
HWY_INLINE void FindSources(const PathTwoPhaseArgs& args, const Chunk& chunk,
                            int32_t row, const W** source) {
  const PathProblem& p = args.weights->problem;
  const WeightRows<W> all =
      RowsOf<W>(args.weights->y, p.output_width, args.weights->reduced_y);
  float* a = chunk.z + row * chunk.trees * p.levels;
  for (int64_t t = 0; t < chunk.trees; ++t) {
    const int32_t leaf = chunk.leaf[t * chunk.rows + row];
    const WeightRows<W> tree = all.From((chunk.first_tree + t) * p.nodes());
    for (int level = 0; level < p.levels; ++level) {
      const int64_t node = LevelBegin(level) + (leaf >> (p.levels - 1 - level));
      *a = tree.Scaled(*a, node);
      ++a;
      *source++ = tree.Row(node);
    }
  }
}

// kRows rows from position `at` of the order.
template <class W, int kRows, int kVectors>
HWY_INLINE void CombineTile(const PathTwoPhaseArgs& args, const Chunk& chunk,
                            int64_t at) {
  const PathProblem& p = args.weights->problem;
  const auto values = static_cast<int>(chunk.trees * p.levels);
  const W* sources[kRows][kGroupLevelsMax];
  const W* const* source[kRows];
  const float* a[kRows];
  float* y[kRows];
  int32_t apart = 0;  // bits in which the rows' leaves differ
  for (int b = 0; b < kRows; ++b) {
    const int32_t row = chunk.order[at + b];
    FindSources(args, chunk, row, sources[b]);
    source[b] = sources[b];
    a[b] = chunk.z + row * values;
    y[b] = args.y.row(chunk.first_row + row);
    apart |= chunk.leaf[row] ^ chunk.leaf[chunk.order[at]];
  }
  int shared = chunk.trees == 1 ? values : 0;
  for (; apart != 0 && shared > 0; apart >>= 1) --shared;
  SumRows<kRows, kVectors>(
      Sum<W>{source, a, y, values, shared, chunk.first_tree > 0, args.stream},
      p.output_width);
}

template <class W>
HWY_INLINE void CombineAll(const PathTwoPhaseArgs& args, Chunk& chunk,
                           ScratchScope& scratch) {
  const PathProblem& p = args.weights->problem;
  if (chunk.trees == 1) {
    int32_t* sorted = scratch.Ints(chunk.rows);
    SortRows(chunk.leaf, 0, int64_t{1} << (p.levels - 1), chunk.order,
             chunk.rows, scratch.workspace(), sorted);
    chunk.order = sorted;
  }
  int64_t i = 0;
  for (; i + kTileRows <= chunk.rows; i += kTileRows) {
    CombineTile<W, kTileRows, kTileVectors>(args, chunk, i);
  }
  for (; i < chunk.rows; ++i) CombineTile<W, 1, 8>(args, chunk, i);
}

template <class W>
HWY_INLINE void TwoPhaseRows(const PathTwoPhaseArgs& args, int64_t begin,
                             int64_t end, Workspace& workspace) {
  const PathProblem& p = args.weights->problem;
  for (int64_t r = begin; r < end; r += args.chunk_rows) {
    for (int64_t tree = 0; tree < p.trees; tree += args.group) {
      ScratchScope scratch(workspace);
      Chunk chunk;
      chunk.first_row = r;
      chunk.rows = std::min(args.chunk_rows, end - r);
      chunk.first_tree = tree;
      chunk.trees = std::min(args.group, p.trees - tree);
      const int64_t values = chunk.rows * chunk.trees * p.levels;
      chunk.z = scratch.Floats(values);
      chunk.leaf = scratch.Ints(chunk.rows * chunk.trees);
      for (int64_t t = 0; t < chunk.trees; ++t) {
        DescendTree<W>(args, t, chunk, scratch);
      }
      ReportRoutes(args, chunk);
      ActivateInPlace(p.activation, chunk.z, values);
      CombineAll<W>(args, chunk, scratch);
    }
  }
}

void PathTwoPhaseRows(const PathTwoPhaseArgs& args, int64_t begin, int64_t end,
                      Workspace& workspace) {
  switch (args.weights->problem.precision) {
    case Precision::kBf16:
      return TwoPhaseRows<Bf16>(args, begin, end, workspace);
    case Precision::kInt8:
      return TwoPhaseRows<int8_t>(args, begin, end, workspace);
    default:
      return TwoPhaseRows<float>(args, begin, end, workspace);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(PathTwoPhaseRows);

namespace {

// Larger outputs would only push weights out of the caches.
constexpr int64_t kStreamBytes = int64_t{8} << 20;

class PathTwoPhaseKernel : public Kernel {
 public:
  explicit PathTwoPhaseKernel(std::shared_ptr<const PathWeights> weights)
      : weights_(std::move(weights)),
        shape_(ShapeFor(weights_->problem.input_width,
                        BytesAWeight(weights_->problem.precision),
                        base::L1DataBytes())) {}

  absl::string_view name() const override { return "path_two_phase"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const PathProblem& p = weights_->problem;
    PathTwoPhaseArgs args;
    args.weights = weights_.get();
    args.shape = shape_;
    // One tree gains from every further row; with several, x and y of a chunk
    // stay in L2 from tree to tree.
    args.chunk_rows =
        p.trees == 1
            ? 16384
            : std::max<int64_t>(
                  32, (256 << 10) / (p.input_width + p.output_width) / 4);
    args.group = std::clamp<int64_t>(16 / p.levels, 1, p.trees);
    args.x = x;
    args.y = y;
    args.routes = routes;
    const bool aligned =
        reinterpret_cast<uintptr_t>(y.data) % tensor::kAlignmentBytes == 0 &&
        p.output_width %
                static_cast<int64_t>(tensor::kAlignmentBytes / sizeof(float)) ==
            0;
    args.stream =
        aligned && args.group == p.trees && y.rows * y.width * 4 > kStreamBytes;
    context.ParallelFor(x.rows, 16,
                        [&](int64_t begin, int64_t end, int thread) {
                          HWY_DYNAMIC_DISPATCH(PathTwoPhaseRows)
                          (args, begin, end, context.workspace(thread));
                        });
  }

 private:
  std::shared_ptr<const PathWeights> weights_;
  BatchShape shape_;
};

bool Supports(const PathProblem&) { return true; }

// us a MB of weights on the way, one Zen 5 thread, 768->768, 12 levels, at
// 1, 4, 8, 16, 64, 1024, 16384 rows: 28, 17, 17, 18, 16, 14, 9 (path_walk 26,
// 23, 23, 26, 25, 24, 24). 16 trees of 5 levels: 9.2 at 4 rows, 7.9 at 64.
double Cost(const PathProblem& p, int64_t rows) {
  const double bytes = 4.0 * static_cast<double>(p.trees * p.levels) *
                       static_cast<double>(p.input_width + p.output_width);
  double us_a_byte = rows < 4 ? 2.7e-5 : rows < 1024 ? 1.75e-5 : 1.0e-5;
  if (p.trees >= 4) us_a_byte = rows < 16 ? 1.0e-5 : 0.8e-5;
  return 0.2 + static_cast<double>(rows) * bytes * us_a_byte;
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const PathWeights> weights) {
  return std::make_unique<PathTwoPhaseKernel>(std::move(weights));
}

}  // namespace

PathKernelEntry PathTwoPhase() {
  return {"path_two_phase", false, Supports, Cost, Make};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

// path_walk: one row at a time, all trees of it, for small batches.
//
//   x [rows, I], X [trees * nodes, I], Y [trees * nodes, O] -> y [rows, O]
//
// 1. Walk the row down its tree(s), four trees at a time when there are that
//    many: z = X[n].x + b[n], remember n and z.
// 2. Activate all z of the row in one vector pass.
// 3. y = sum over visited n of act(z) * Y[n], 8 vectors of columns at a time in
//    registers, so that y is written once and never read.
//
// Work is split by rows. A row reads 4 * trees * levels * (I + O) bytes of
// weights, and takes half as many FLOPs. Benchmark cases: path-768-l12 and
// sap-16384-d14 with 1 row. Weights of bf16 and int8 take a half and a quarter
// of the bytes: 1.9, 1.3 and 1.1 us, and 42, 33 and 23 us (Zen 5).
//
// Tried and dropped: one row of sap-16384-d14 on two threads, one descending
// and one adding Y rows behind it as nodes are known (the same bits). 36 us on
// one thread (51 GB/s, the memory's whole bandwidth); on two 27 us at best in
// one run of nine, 100 to 170 us in the others, on a virtual machine of two
// busy processors.
#include <algorithm>
#include <utility>

#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/path_walk.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/descent-inl.h"
#include "server/engine/cpu/path-inl.h"

#ifndef FFF_ENGINE_CPU_PATH_WALK_ONCE
#define FFF_ENGINE_CPU_PATH_WALK_ONCE
namespace fff::engine {

// Sources of one weighted sum, kept on the stack; more trees go in several
// rounds that accumulate in y.
constexpr int kSourcesMax = 96;

struct PathWalkArgs {
  const PathWeights* weights;
  tensor::ConstRows x;
  tensor::MutableRows y;
  RouteSink routes;
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Descends trees [tree, tree + kTrees) for one row. z [kTrees * levels] and
// leaf [kTrees] are written.
template <class W, int kTrees>
HWY_INLINE void WalkTrees(const PathWeights& weights, int64_t tree,
                          const float* x, float* z, int32_t* leaf) {
  const PathProblem& p = weights.problem;
  const WeightRows<W> rows =
      RowsOf<W>(weights.x, p.input_width, weights.reduced_x);
  Router<W> routers[kTrees];
  const Router<W>* tree_of[kTrees];
  const float* x_of[kTrees];
  float* z_of[kTrees];
  for (int b = 0; b < kTrees; ++b) {
    const int64_t first = (tree + b) * p.nodes();
    routers[b] = {rows.From(first),
                  p.has_bias ? weights.bias.data() + first : nullptr,
                  p.input_width, p.tie == Tie::kRight};
    tree_of[b] = &routers[b];
    x_of[b] = x;
    z_of[b] = z + b * p.levels;
    leaf[b] = 0;
  }
  NoPrefetch none;
  Descend<kTrees>(tree_of, x_of, 0, p.levels, leaf, z_of, none);
  for (int b = 0; b < kTrees; ++b) {
    leaf[b] = (leaf[b] - 1) / 2 - LevelBegin(p.levels - 1);
  }
}

// Adds trees [tree, tree + trees) to y; z holds activated values, which are
// multiplied with the scales of their Y rows.
template <class W>
HWY_INLINE void SumTrees(const PathWeights& weights, int64_t tree,
                         int64_t trees, float* z, const int32_t* leaf,
                         float* y) {
  const PathProblem& p = weights.problem;
  const WeightRows<W> all =
      RowsOf<W>(weights.y, p.output_width, weights.reduced_y);
  const W* sources[kSourcesMax];
  int count = 0;
  for (int64_t t = 0; t < trees; ++t) {
    const WeightRows<W> rows = all.From((tree + t) * p.nodes());
    for (int level = 0; level < p.levels; ++level) {
      const int64_t node =
          LevelBegin(level) + (leaf[t] >> (p.levels - 1 - level));
      z[count] = rows.Scaled(z[count], node);
      sources[count++] = rows.Row(node);
    }
  }
  const W* const* source = sources;
  const float* a = z;
  SumRows<1, 8>(Sum<W>{&source, &a, &y, count, 0, tree > 0, false},
                p.output_width);
}

template <class W>
HWY_INLINE void WalkRows(const PathWalkArgs& args, int64_t begin, int64_t end,
                         Workspace& workspace) {
  const PathWeights& weights = *args.weights;
  const PathProblem& p = weights.problem;
  const int64_t group = std::max<int64_t>(1, kSourcesMax / p.levels);
  ScratchScope scratch(workspace);
  float* z = scratch.Floats(p.trees * p.levels);
  int32_t* leaf = scratch.Ints(p.trees);
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x.row(r);
    int64_t tree = 0;
    for (; tree + 4 <= p.trees; tree += 4) {
      WalkTrees<W, 4>(weights, tree, x, z + tree * p.levels, leaf + tree);
    }
    for (; tree < p.trees; ++tree) {
      WalkTrees<W, 1>(weights, tree, x, z + tree * p.levels, leaf + tree);
    }
    const int64_t values = p.trees * p.levels;
    if (args.routes.margins != nullptr) {
      std::copy(z, z + values, args.routes.margins + r * values);
    }
    if (args.routes.leaves != nullptr) {
      std::copy(leaf, leaf + p.trees, args.routes.leaves + r * p.trees);
    }
    ActivateInPlace(p.activation, z, values);
    for (tree = 0; tree < p.trees; tree += group) {
      SumTrees<W>(weights, tree, std::min(group, p.trees - tree),
                  z + tree * p.levels, leaf + tree, args.y.row(r));
    }
  }
}

void PathWalkRows(const PathWalkArgs& args, int64_t begin, int64_t end,
                  Workspace& workspace) {
  switch (args.weights->problem.precision) {
    case Precision::kBf16:
      return WalkRows<Bf16>(args, begin, end, workspace);
    case Precision::kInt8:
      return WalkRows<int8_t>(args, begin, end, workspace);
    default:
      return WalkRows<float>(args, begin, end, workspace);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(PathWalkRows);

namespace {

class PathWalkKernel : public Kernel {
 public:
  explicit PathWalkKernel(std::shared_ptr<const PathWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "path_walk"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const PathWalkArgs args = {weights_.get(), x, y, routes};
    context.ParallelFor(x.rows, 4, [&](int64_t begin, int64_t end, int thread) {
      HWY_DYNAMIC_DISPATCH(PathWalkRows)
      (args, begin, end, context.workspace(thread));
    });
  }

 private:
  std::shared_ptr<const PathWeights> weights_;
};

bool Supports(const PathProblem&) { return true; }

// us on one Zen 5 thread: 26 per MB of weights on the way where each level
// waits for the last one (768->768, 12 levels: 1.9 per row, weights in L3). 9
// per MB with four trees and more at once (16 trees of 5 levels: 4.2 per row).
// Fetching Y rows or the first lines of both children ahead made no difference.
double Cost(const PathProblem& p, int64_t rows) {
  const double bytes = 4.0 * static_cast<double>(p.trees * p.levels) *
                       static_cast<double>(p.input_width + p.output_width);
  return static_cast<double>(rows) * bytes * (p.trees >= 4 ? 0.9e-5 : 2.6e-5);
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const PathWeights> weights) {
  return std::make_unique<PathWalkKernel>(std::move(weights));
}

}  // namespace

PathKernelEntry PathWalk() {
  return {"path_walk", false, Supports, Cost, Make};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

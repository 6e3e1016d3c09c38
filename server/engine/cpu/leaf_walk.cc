// leaf_walk: one row at a time, for small batches and many leaves.
//
//   x [rows, I] -> depth decisions -> one leaf of I -> (l) -> O -> y [rows, O]
//
// 1. z = W[n].x + b[n] down the tree, `depth` times.
// 2. hidden = b1[leaf] + sum_i x[i] * w1[leaf][i]: the leaf's first matrix is
//    read once, front to back, in the order in which checkpoints hold it.
// 3. hidden = act(hidden), y = b2[leaf] + sum_j hidden[j] * w2[leaf][j].
//
// Work is split by rows. A row reads 4 * (depth * I + l * (I + O)) bytes of
// weights and takes half as many FLOPs. Benchmark case: leaf-768-32-768-d12.
#include <algorithm>
#include <utility>
#include <vector>

#include "server/engine/cpu/packed_leaf.h"
#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/leaf_walk.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/descent-inl.h"
#include "server/engine/cpu/leaf-inl.h"
#include "server/engine/cpu/leaf_products-inl.h"

#ifndef FFF_ENGINE_CPU_LEAF_WALK_ONCE
#define FFF_ENGINE_CPU_LEAF_WALK_ONCE
namespace fff::engine {

struct LeafWalkArgs {
  const PackedLeaf* layer;
  tensor::ConstRows x;
  tensor::MutableRows y;
  RouteSink routes;
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// One row through its leaf.
template <class W>
HWY_INLINE void WalkLeaf(const PackedLeaf& layer, int64_t leaf, const float* x,
                         float* hidden, float* y) {
  FirstProduct<W, 1>(layer, leaf, &x, &hidden);
  ActivateInPlace(layer.problem().activation, hidden,
                  layer.problem().leaf_width);
  SecondProduct<W, 1>(layer, leaf, &hidden, &y);
}

template <class W>
HWY_INLINE void WalkRows(const LeafWalkArgs& args, int64_t begin, int64_t end,
                         Workspace& workspace) {
  const PackedLeaf& layer = *args.layer;
  const LeafWeights& weights = layer.weights();
  const LeafProblem& p = layer.problem();
  const Router<W> router = {layer.Nodes<W>(), weights.node_biases.data(),
                            p.input_width, p.tie == Tie::kRight};
  const Router<W>* routers = &router;
  ScratchScope scratch(workspace);
  float* z = scratch.Floats(p.depth);
  float* hidden = scratch.Floats(p.leaf_width);
  for (int64_t r = begin; r < end; ++r) {
    const float* x = args.x.row(r);
    int32_t node = 0;
    NoPrefetch none;
    Descend<1>(&routers, &x, 0, p.depth, &node, &z, none);
    const int64_t leaf = node - LevelBegin(p.depth);
    if (args.routes.leaves != nullptr) {
      args.routes.leaves[r] = static_cast<int32_t>(leaf);
    }
    if (args.routes.margins != nullptr) {
      std::copy(z, z + p.depth, args.routes.margins + r * p.depth);
    }
    WalkLeaf<W>(layer, leaf, x, hidden, args.y.row(r));
  }
}

void LeafWalkRows(const LeafWalkArgs& args, int64_t begin, int64_t end,
                  Workspace& workspace) {
  switch (args.layer->problem().precision) {
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

HWY_EXPORT(LeafWalkRows);

namespace {

class LeafWalkKernel : public Kernel {
 public:
  explicit LeafWalkKernel(std::shared_ptr<const LeafWeights> weights)
      : layer_(std::move(weights)) {}

  absl::string_view name() const override { return "leaf_walk"; }
  std::vector<PackedCopy> packed() const override {
    return {{this, layer_.packed_bytes()}};
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const LeafWalkArgs args = {&layer_, x, y, routes};
    context.ParallelFor(x.rows, 4, [&](int64_t begin, int64_t end, int thread) {
      HWY_DYNAMIC_DISPATCH(LeafWalkRows)
      (args, begin, end, context.workspace(thread));
    });
  }

 private:
  PackedLeaf layer_;
};

bool Supports(const LeafProblem&) { return true; }

// us on one Zen 5 thread, any batch: 14.5 a MB of weights on the way from the
// caches (784->(8)->10, depth 4: 0.55 per row; 256->(32)->256, depth 6: 0.98),
// 33 from memory (768->(32)->768, depth 12: 7.8).
double Cost(const LeafProblem& p, int64_t rows) {
  const double bytes =
      4.0 *
      static_cast<double>(p.depth * p.input_width +
                          p.leaf_width * (p.input_width + p.output_width));
  return static_cast<double>(rows) * bytes *
         (LeavesInCache(p) ? 1.45e-5 : 3.3e-5);
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const LeafWeights> weights) {
  return std::make_unique<LeafWalkKernel>(std::move(weights));
}

}  // namespace

LeafKernelEntry LeafWalk() {
  return {"leaf_walk", false, Supports,
          Cost,        Make,  {/*own_order_of_sums=*/true}};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

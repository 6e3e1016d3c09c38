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

#include "server/engine/cpu/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/leaf_walk.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/descent-inl.h"

#ifndef FFF_ENGINE_CPU_LEAF_WALK_ONCE
#define FFF_ENGINE_CPU_LEAF_WALK_ONCE
namespace fff::engine {

struct LeafWalkArgs {
  const LeafWeights* weights;
  tensor::ConstRows x;
  tensor::MutableRows y;
  RouteSink routes;
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// y[col .. col + kVectors * lanes) = bias + sum_i a[i] * w[i * width + col
// ...]. kSplit partial sums over i hide the latency of fused multiply-add.
template <int kVectors, int kSplit>
HWY_INLINE void RowTimesMatrix(const float* a, int64_t terms, const float* w,
                               int64_t width, const float* bias, float* y) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc[kSplit][kVectors];
  for (int c = 0; c < kVectors; ++c) {
    acc[0][c] = bias != nullptr ? hn::LoadU(d, bias + c * lanes) : hn::Zero(d);
    for (int k = 1; k < kSplit; ++k) acc[k][c] = hn::Zero(d);
  }
  int64_t i = 0;
  for (; i + kSplit <= terms; i += kSplit) {
    for (int k = 0; k < kSplit; ++k) {
      const V factor = hn::Set(d, a[i + k]);
      for (int c = 0; c < kVectors; ++c) {
        acc[k][c] = hn::MulAdd(
            factor, hn::LoadU(d, w + (i + k) * width + c * lanes), acc[k][c]);
      }
    }
  }
  for (; i < terms; ++i) {
    for (int c = 0; c < kVectors; ++c) {
      acc[0][c] = hn::MulAdd(
          hn::Set(d, a[i]), hn::LoadU(d, w + i * width + c * lanes), acc[0][c]);
    }
  }
  for (int c = 0; c < kVectors; ++c) {
    V total = acc[0][c];
    for (int k = 1; k < kSplit; ++k) total = hn::Add(total, acc[k][c]);
    hn::StoreU(total, d, y + c * lanes);
  }
}

// The last columns, fewer than a vector.
HWY_INLINE void RowTimesMatrixTail(const float* a, int64_t terms,
                                   const float* w, int64_t width,
                                   const float* bias, float* y, size_t part) {
  constexpr int kSplit = 4;
  const D d;
  V acc[kSplit];
  for (int k = 0; k < kSplit; ++k) acc[k] = hn::Zero(d);
  if (bias != nullptr) acc[0] = LoadFirst(d, bias, part);
  int64_t i = 0;
  for (; i + kSplit <= terms; i += kSplit) {
    for (int k = 0; k < kSplit; ++k) {
      acc[k] = hn::MulAdd(hn::Set(d, a[i + k]),
                          LoadFirst(d, w + (i + k) * width, part), acc[k]);
    }
  }
  for (; i < terms; ++i) {
    acc[0] =
        hn::MulAdd(hn::Set(d, a[i]), LoadFirst(d, w + i * width, part), acc[0]);
  }
  StoreFirst(hn::Add(hn::Add(acc[0], acc[1]), hn::Add(acc[2], acc[3])), d, y,
             part);
}

// y [width] = bias + a [terms] . w [terms, width]. bias may be null.
HWY_INLINE void MultiplyRow(const float* a, int64_t terms, const float* w,
                            int64_t width, const float* bias, float* y) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const auto bias_at = [&](int64_t col) HWY_ATTR {
    return bias == nullptr ? nullptr : bias + col;
  };
  int64_t col = 0;
  for (; col + 8 * lanes <= width; col += 8 * lanes) {
    RowTimesMatrix<8, 1>(a, terms, w + col, width, bias_at(col), y + col);
  }
  for (; col + 2 * lanes <= width; col += 2 * lanes) {
    RowTimesMatrix<2, 4>(a, terms, w + col, width, bias_at(col), y + col);
  }
  for (; col + lanes <= width; col += lanes) {
    RowTimesMatrix<1, 4>(a, terms, w + col, width, bias_at(col), y + col);
  }
  if (col < width) {
    RowTimesMatrixTail(a, terms, w + col, width, bias_at(col), y + col,
                       static_cast<size_t>(width - col));
  }
}

void LeafWalkRows(const LeafWalkArgs& args, int64_t begin, int64_t end,
                  Workspace& workspace) {
  const LeafWeights& weights = *args.weights;
  const LeafProblem& p = weights.problem;
  const Router router = {weights.node_weights.data(),
                         weights.node_biases.data(), p.input_width,
                         p.tie == Tie::kRight};
  const Router* routers = &router;
  float* z = workspace.Floats(0, p.depth);
  float* hidden = workspace.Floats(1, p.leaf_width);
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
    MultiplyRow(x, p.input_width,
                weights.w1.data() + leaf * p.input_width * p.leaf_width,
                p.leaf_width, weights.b1.data() + leaf * p.leaf_width, hidden);
    ActivateInPlace(p.activation, hidden, p.leaf_width);
    MultiplyRow(
        hidden, p.leaf_width,
        weights.w2.data() + leaf * p.leaf_width * p.output_width,
        p.output_width,
        p.has_output_bias ? weights.b2.data() + leaf * p.output_width : nullptr,
        args.y.row(r));
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
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "leaf_walk"; }

  void Run(tensor::ConstRows x, tensor::MutableRows y, const RouteSink& routes,
           ExecutionContext& context) const override {
    const LeafWalkArgs args = {weights_.get(), x, y, routes};
    context.ParallelFor(x.rows, 4, [&](int64_t begin, int64_t end, int thread) {
      HWY_DYNAMIC_DISPATCH(LeafWalkRows)
      (args, begin, end, context.workspace(thread));
    });
  }

 private:
  std::shared_ptr<const LeafWeights> weights_;
};

bool Supports(const LeafProblem&) { return true; }

double Cost(const LeafProblem& p, int64_t rows) {
  return 1.6e-5 * static_cast<double>(rows) *
         static_cast<double>(4 *
                             (p.depth * p.input_width +
                              p.leaf_width * (p.input_width + p.output_width)));
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const LeafWeights> weights) {
  return std::make_unique<LeafWalkKernel>(std::move(weights));
}

}  // namespace

LeafKernelEntry LeafWalk() {
  return {"leaf_walk", Device::kCpu, false, Supports, Cost, Make};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

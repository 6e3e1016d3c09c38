// dense_dot: y = act(x.W^T + b) for a few rows, from W as it is.
//
//   x [rows, I], W [O, I], b [O] -> y [rows, O]
//
// 1. Four outputs at a time (two where four rows meet the 16 registers of
//    AVX2): their rows of W are streamed once against up to four rows of x
//    that stay in L1, with a vector of partial sums a pair.
// 2. Add the bias, then activate each row's part in one vector pass.
//
// Work is split by outputs, so that several threads share one row's weights. A
// batch reads 4 * I * O bytes of weights once per four rows, and takes 2 * I *
// O FLOPs a row. Nothing is packed and no call overhead is paid.
#include <algorithm>
#include <utility>

#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/dense_dot.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/leaf-inl.h"

#ifndef FFF_ENGINE_CPU_DENSE_DOT_ONCE
#define FFF_ENGINE_CPU_DENSE_DOT_ONCE
namespace fff::engine {

struct DenseDotArgs {
  const DenseWeights* weights;
  tensor::ConstRows x;
  tensor::MutableRows y;
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Outputs [begin, end) of kRows rows from row r.
template <int kRows>
HWY_INLINE void DotOutputs(const DenseDotArgs& args, int64_t r, int64_t begin,
                           int64_t end) {
  const DenseWeights& weights = *args.weights;
  const DenseProblem& p = weights.problem;
  const float* x[kRows];
  float* y[kRows];
  for (int b = 0; b < kRows; ++b) {
    x[b] = args.x.row(r + b);
    y[b] = args.y.row(r + b) + begin;
  }
  MultiplyRowsTransposed<kRows>(Product<float>{
      x, p.input_width, weights.w.data() + begin * p.input_width, p.input_width,
      end - begin, p.has_bias ? weights.bias.data() + begin : nullptr, y});
  for (int b = 0; b < kRows; ++b) {
    ActivateInPlace(p.activation, y[b], end - begin);
  }
}

void DenseDotOutputs(const DenseDotArgs& args, int64_t begin, int64_t end) {
  int64_t r = 0;
  for (; r + 4 <= args.x.rows; r += 4) DotOutputs<4>(args, r, begin, end);
  for (; r + 2 <= args.x.rows; r += 2) DotOutputs<2>(args, r, begin, end);
  for (; r < args.x.rows; ++r) DotOutputs<1>(args, r, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(DenseDotOutputs);

namespace {

class DenseDotKernel : public Kernel {
 public:
  explicit DenseDotKernel(std::shared_ptr<const DenseWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "dense_dot"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const DenseProblem& p = weights_->problem;
    const DenseDotArgs args = {weights_.get(), x, y};
    if (x.rows == 0) return;
    // A thread is worth starting for 64 KB of weights (about 1 us).
    const int64_t grain = std::max<int64_t>(4, (16 << 10) / p.input_width);
    context.ParallelFor(p.output_width, grain,
                        [&](int64_t begin, int64_t end, int) {
                          HWY_DYNAMIC_DISPATCH(DenseDotOutputs)
                          (args, begin, end);
                        });
  }

 private:
  std::shared_ptr<const DenseWeights> weights_;
};

// Larger W would stay in memory beside the copy that all other batch sizes
// read, for 5 % at one row (Zen 5, below), or none: dense_panel takes 0.25 ms
// of 768
// -> 4095 and this 0.30 ms (CPU time, Zen 4).
constexpr int64_t kWeightsMax = 256 << 10;

bool Supports(const DenseProblem& p) {
  return p.input_width >= 1 && p.output_width >= 1 &&
         p.input_width <= kWeightsMax / p.output_width;
}

// us on one Zen 5 thread, K -> N at M = 1, 2, 4, 8 rows (dense_onednn beside):
//   128 -> 10     0.08 0.11 0.15 0.25   (1.4 1.4 1.5 1.5)
//   784 -> 128    3.6  3.8  4.6  9.2    (4.4 5.1 5.4 9.3)
//   768 -> 4095   138  155  177  343    (148 145 156 272)
//   4095 -> 768   152  207  240  472    (134 133 143 255)
double Cost(const DenseProblem& p, int64_t rows) {
  const double macs =
      static_cast<double>(p.input_width) * static_cast<double>(p.output_width);
  return 0.1 + macs * std::max(3.5e-5, 1.15e-5 * static_cast<double>(rows));
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const DenseWeights> weights) {
  return std::make_unique<DenseDotKernel>(std::move(weights));
}

}  // namespace

DenseKernelEntry DenseDot() {
  return {"dense_dot", false, Supports, Cost, Make, kOwnSumsAlike};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

// gate_rows, softmax_rows: what mixes the elements of a row.
//
// gate_rows: y [rows, width] from x [rows, 2 * width]: one half of a row times
//   the activation of the other. The gate's half is copied to y, activated
//   there and multiplied, a piece at a time that stays in L1.
// softmax_rows: y [rows, width] from x [rows, width]: per row the maximum, exps
//   of what is below it with their sum, and a product. y may be x.
//
// Work is split by rows. 12 and 8 bytes per element of y are read and written;
// both are bound by the exps.
#include <algorithm>
#include <cmath>
#include <memory>

#include "server/engine/cpu/row_kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/gate_ops.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

void GateSpan(Activation activation, const float* gate, const float* value,
              int64_t count, float* y) {
  std::copy_n(gate, count, y);
  ActivateInPlace(activation, y, count);
  ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), hn::LoadU(d, value + i)), d, y + i);
  });
}

void SoftmaxRow(const float* x, int64_t width, float* y) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto whole = width - width % lanes;
  const auto rest = static_cast<size_t>(width - whole);
  const V lowest = hn::Set(d, -HUGE_VALF);
  V most = lowest;
  for (int64_t i = 0; i < whole; i += lanes) {
    most = hn::Max(most, hn::LoadU(d, x + i));
  }
  float greatest = hn::GetLane(hn::MaxOfLanes(d, most));
  bool nan = false;
  for (int64_t i = 0; i < width; ++i) nan |= std::isnan(x[i]);
  for (int64_t i = whole; i < width; ++i) greatest = std::max(greatest, x[i]);
  // As in torch: NaN or +infinity anywhere, or nothing above -infinity.
  if (nan || std::isinf(greatest)) {
    std::fill_n(y, width, NAN);
    return;
  }
  V sums = hn::Zero(d);
  const V top = hn::Set(d, greatest);
  for (int64_t i = 0; i < whole; i += lanes) {
    const V exp = ExpOfNegative(d, hn::Sub(hn::LoadU(d, x + i), top));
    sums = hn::Add(sums, exp);
    hn::StoreU(exp, d, y + i);
  }
  if (rest > 0) {
    const auto first = hn::FirstN(d, rest);
    const V below = hn::IfThenElse(
        first, hn::Sub(LoadFirst(d, x + whole, rest), top), lowest);
    const V exp = hn::IfThenElseZero(first, ExpOfNegative(d, below));
    sums = hn::Add(sums, exp);
    StoreFirst(exp, d, y + whole, rest);
  }
  const float scale = 1 / hn::GetLane(hn::SumOfLanes(d, sums));
  ForEachVector(width, [&](auto v, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(v, y + i), hn::Set(v, scale)), v, y + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(GateSpan);
HWY_EXPORT(SoftmaxRow);

namespace {

// What is gated at once: it is still in L1.
constexpr int64_t kGateFloats = 2048;

int64_t GrainOf(int64_t width) {
  return std::max<int64_t>(1, kGrainFloats / width);
}

class GateRowsKernel : public RowKernel<graph::GateWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "gate_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const graph::GateProblem& p = weights_->problem;
    context.ParallelFor(
        y.rows, GrainOf(x.width), [&](int64_t begin, int64_t end, int) {
          for (int64_t r = begin; r < end; ++r) {
            const float* const first = x.row(r);
            const float* const second = first + p.output_width;
            const float* const gate = p.gate_first ? first : second;
            const float* const value = p.gate_first ? second : first;
            for (int64_t at = 0; at < y.width; at += kGateFloats) {
              HWY_DYNAMIC_DISPATCH(GateSpan)
              (p.activation, gate + at, value + at,
               std::min(kGateFloats, y.width - at), y.row(r) + at);
            }
          }
        });
  }
};

class SoftmaxRowsKernel : public RowKernel<graph::SoftmaxWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "softmax_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    context.ParallelFor(
        x.rows, GrainOf(x.width), [&](int64_t begin, int64_t end, int) {
          for (int64_t r = begin; r < end; ++r) {
            HWY_DYNAMIC_DISPATCH(SoftmaxRow)(x.row(r), x.width, y.row(r));
          }
        });
  }
};

}  // namespace

template <>
KernelsFor<graph::Gate> KernelsOf<graph::Gate>() {
  return OnlyKernel<graph::Gate, GateRowsKernel>("gate_rows");
}

template <>
KernelsFor<graph::Softmax> KernelsOf<graph::Softmax>() {
  return OnlyKernel<graph::Softmax, SoftmaxRowsKernel>("softmax_rows");
}

}  // namespace fff::engine
#endif  // HWY_ONCE

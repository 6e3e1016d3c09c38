// activate_rows, layer_norm_rows, blend_rows, scale_rows, add_rows: the ops of
// few operations per element, y [rows, width] from x [rows, width] (blend and
// add: two of them).
//
// activate_rows: y = act(x); a copy and a pass over it while it is in L1.
// layer_norm_rows: per row three passes over at most some KB that stay in L1:
//   the sum, the sum of squares around the mean, and the result. Sums are kept
//   in four vectors, so a row of 768 floats rounds 48 times, not 768. A norm
//   that is not centred (RMSNorm) saves the first.
// blend_rows: y = share * a + (1 - share) * b; y may be a.
// scale_rows: y[c, i] = x[c, i] * scale[c] + shift[c], [channels, inner];
//   vectors run along the channels where inner is 1, else along a channel.
// add_rows: y = a + b; y may be a.
//
// Work is split by elements, for layer_norm by rows, for scale by channels. 4
// bytes per element are read and written once; a thread takes at least as much
// as outweighs handing it over.
#include <algorithm>
#include <cmath>
#include <memory>

#include "server/engine/cpu/row_kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/row_ops.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void ActivateSpan(Activation activation, float* values, int64_t count) {
  ActivateInPlace(activation, values, count);
}

// sum of f(x[i]), in four vectors and one scalar tail.
template <class F>
HWY_INLINE float SumOf(const float* x, int64_t count, const F& f) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d);
  auto b = a;
  auto c = a;
  auto e = a;
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = hn::Add(a, f(d, hn::LoadU(d, x + i)));
    b = hn::Add(b, f(d, hn::LoadU(d, x + i + lanes)));
    c = hn::Add(c, f(d, hn::LoadU(d, x + i + 2 * lanes)));
    e = hn::Add(e, f(d, hn::LoadU(d, x + i + 3 * lanes)));
  }
  const auto all = hn::Add(hn::Add(a, b), hn::Add(c, e));
  float sum = hn::GetLane(hn::SumOfLanes(d, all));
  const hn::CappedTag<float, 1> one;
  for (; i < count; ++i) {
    sum += hn::GetLane(f(one, hn::LoadU(one, x + i)));
  }
  return sum;
}

void LayerNormRow(const graph::LayerNormWeights& norm, const float* x,
                  float* y) {
  const int64_t width = norm.problem.input_width;
  const auto n = static_cast<float>(width);
  const float mean =
      norm.problem.centred
          ? SumOf(x, width, [](auto /*d*/, auto v) HWY_ATTR { return v; }) / n
          : 0.0f;
  const float variance = SumOf(x, width,
                               [mean](auto d, auto v) HWY_ATTR {
                                 const auto centred =
                                     hn::Sub(v, hn::Set(d, mean));
                                 return hn::Mul(centred, centred);
                               }) /
                         n;
  const float scale =
      1 / std::sqrt(variance + static_cast<float>(norm.problem.epsilon));
  const float* const weight = norm.weight.data();
  const float* const bias = norm.bias.data();
  const auto body = [&](auto d, int64_t i) HWY_ATTR {
    const auto normal = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)),
                                hn::Set(d, scale));
    const auto shift = bias == nullptr ? hn::Zero(d) : hn::LoadU(d, bias + i);
    hn::StoreU(hn::MulAdd(normal, hn::LoadU(d, weight + i), shift), d, y + i);
  };
  ForEachVector(width, body);
}

void BlendSpan(float share, const float* a, const float* b, int64_t count,
               float* y) {
  const auto body = [&](auto d, int64_t i) HWY_ATTR {
    const auto rest = hn::Mul(hn::Set(d, 1 - share), hn::LoadU(d, b + i));
    hn::StoreU(hn::MulAdd(hn::Set(d, share), hn::LoadU(d, a + i), rest), d,
               y + i);
  };
  ForEachVector(count, body);
}

// Channels [begin, end) of all rows, counted through: x and y are
// [rows * channels, inner].
void ScaleChannels(const graph::ScaleWeights& weights, int64_t begin,
                   int64_t end, const float* x, float* y) {
  const int64_t channels = weights.problem.channels;
  const int64_t inner = weights.problem.inner;
  const float* const scale = weights.scale.data();
  const float* const shift = weights.shift.data();
  if (inner == 1) {
    while (begin < end) {
      const int64_t c = begin % channels;
      const int64_t count = std::min(channels - c, end - begin);
      ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
        const auto v =
            hn::MulAdd(hn::LoadU(d, x + begin + i), hn::LoadU(d, scale + c + i),
                       hn::LoadU(d, shift + c + i));
        hn::StoreU(v, d, y + begin + i);
      });
      begin += count;
    }
    return;
  }
  for (; begin < end; ++begin) {
    const int64_t c = begin % channels;
    const int64_t at = begin * inner;
    ForEachVector(inner, [&](auto d, int64_t i) HWY_ATTR {
      const auto v = hn::MulAdd(hn::LoadU(d, x + at + i), hn::Set(d, scale[c]),
                                hn::Set(d, shift[c]));
      hn::StoreU(v, d, y + at + i);
    });
  }
}

void AddSpans(const float* a, const float* b, int64_t count, float* y) {
  ForEachVector(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(ActivateSpan);
HWY_EXPORT(LayerNormRow);
HWY_EXPORT(BlendSpan);
HWY_EXPORT(ScaleChannels);
HWY_EXPORT(AddSpans);

namespace {

// What a thread copies and activates at once: it is still in L1.
constexpr int64_t kActivateFloats = 4096;
class ActivateRowsKernel : public RowKernel<graph::ActivationWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "activate_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const float* const x = in[0].floats().data;
    const Activation activation = weights_->problem.activation;
    context.ParallelFor(
        y.rows * y.width, kActivateFloats,
        [&](int64_t begin, int64_t end, int) {
          for (int64_t at = begin; at < end; at += kActivateFloats) {
            const int64_t count = std::min(kActivateFloats, end - at);
            std::copy_n(x + at, count, y.data + at);
            HWY_DYNAMIC_DISPATCH(ActivateSpan)(activation, y.data + at, count);
          }
        });
  }
};

class LayerNormRowsKernel : public RowKernel<graph::LayerNormWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "layer_norm_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const int64_t grain = std::max<int64_t>(1, kGrainFloats / x.width);
    context.ParallelFor(x.rows, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        HWY_DYNAMIC_DISPATCH(LayerNormRow)(*weights_, x.row(r), y.row(r));
      }
    });
  }
};

class BlendRowsKernel : public RowKernel<graph::BlendWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "blend_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const float* const a = in[0].floats().data;
    const float* const b = in[1].floats().data;
    context.ParallelFor(y.rows * y.width, kGrainFloats,
                        [&](int64_t begin, int64_t end, int) {
                          HWY_DYNAMIC_DISPATCH(BlendSpan)
                          (weights_->problem.share, a + begin, b + begin,
                           end - begin, y.data + begin);
                        });
  }
};

class ScaleRowsKernel : public RowKernel<graph::ScaleWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "scale_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const graph::ScaleProblem& p = weights_->problem;
    const int64_t grain = std::max<int64_t>(1, kGrainFloats / p.inner);
    context.ParallelFor(x.rows * p.channels, grain,
                        [&](int64_t begin, int64_t end, int) {
                          HWY_DYNAMIC_DISPATCH(ScaleChannels)
                          (*weights_, begin, end, x.data, y.data);
                        });
  }
};

class AddRowsKernel : public RowKernel<graph::AddWeights> {
 public:
  using RowKernel::RowKernel;
  absl::string_view name() const override { return "add_rows"; }
  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const float* const a = in[0].floats().data;
    const float* const b = in[1].floats().data;
    context.ParallelFor(y.rows * y.width, kGrainFloats,
                        [&](int64_t begin, int64_t end, int) {
                          HWY_DYNAMIC_DISPATCH(AddSpans)
                          (a + begin, b + begin, end - begin, y.data + begin);
                        });
  }
};

}  // namespace

template <>
KernelsFor<graph::Activate> KernelsOf<graph::Activate>() {
  return OnlyKernel<graph::Activate, ActivateRowsKernel>("activate_rows");
}

template <>
KernelsFor<graph::LayerNorm> KernelsOf<graph::LayerNorm>() {
  return OnlyKernel<graph::LayerNorm, LayerNormRowsKernel>("layer_norm_rows");
}

template <>
KernelsFor<graph::Blend> KernelsOf<graph::Blend>() {
  return OnlyKernel<graph::Blend, BlendRowsKernel>("blend_rows");
}

template <>
KernelsFor<graph::Scale> KernelsOf<graph::Scale>() {
  return OnlyKernel<graph::Scale, ScaleRowsKernel>("scale_rows");
}

template <>
KernelsFor<graph::Add> KernelsOf<graph::Add>() {
  return OnlyKernel<graph::Add, AddRowsKernel>("add_rows");
}

}  // namespace fff::engine
#endif  // HWY_ONCE

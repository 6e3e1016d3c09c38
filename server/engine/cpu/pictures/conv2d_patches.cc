// conv2d_patches: y = act(conv(x, W) + b) where windows stand side by side and
// the weights are few: a picture's patches, or its bands of rows.
//
//   x [rows, C, H, W], W [O, C / groups, KH, KW], b [O] -> y [rows, O, H', W']
//
// One of two ways, by the problem:
// 1. One window per channel group, whose terms lie one behind the other: each
//    group is a small linear layer. Four rows meet its weights at a time
//    (MultiplyRowsTransposed of leaf-inl.h).
// 2. Else a window is a row of KH KW C / groups terms. W is packed [groups,
//    terms, outputs], outputs filled up to whole vectors of 4, 8 or all lanes.
//    Up to eight windows meet each vector of weights at a time, one sum each.
//    The sums, [windows, outputs], are then transposed into y.
// Then bias, and the activation in one vector pass.
//
// Rows are split over the threads, and a row's sums do not depend on its
// neighbours. A row takes 2 O H' W' KH KW C / groups FLOPs.
//
// us per call on one thread of a Zen 5 (AVX-512), at 1 and 256 rows, with some
// 0.1 around the kernel, and conv2d_onednn beside; ReLU but for the first way:
//
//                                            1 row       256 rows
//   14x2x28 -> 56x1x1, 14 groups (1.)     0.19  6.3     32  1,054
//   7x4x28 -> 56x1x1, 7 groups (1.)       0.24  3.6     28    297
//   7x4x28 -> 56x1x7, 4x4, 7 groups       0.29  2.8     61    196
//   7x4x28 -> 112x1x7, 4x4, 7 groups      0.36  3.3     77    229
//   1x28x28 -> 8x7x7, 4x4                 0.26  3.5     52    279
//
// us per row as the tuner saw them at one row, beside conv2d_onednn:
// 3x32x32 -> 64x8x8, 4x4, 2.5 and 6.0; 3x32x32 -> 16x4x4, 8x8, 0.6 and 4.3;
// 64x28x28 -> 64x28x28, 1x1, 45 and 53.
//
// Tried and dropped: two sums per window, and ReLU in the sums' registers (no
// gain either); one row at a time in 1. (44 us for the second).
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/pictures/conv2d_patches.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/leaf-inl.h"
#include "server/engine/cpu/panel_product-inl.h"

#ifndef FFF_ENGINE_CPU_CONV2D_PATCHES_ONCE
#define FFF_ENGINE_CPU_CONV2D_PATCHES_ONCE
namespace fff::engine {

// The windows of one picture, and the weights as they are met.
struct Patches {
  std::shared_ptr<const graph::Conv2dWeights> weights;
  int64_t terms = 0;         // of a window
  int64_t outputs = 0;       // of a group
  int64_t stride = 0;        // of `w`: outputs in whole vectors
  int64_t group_floats = 0;  // of x
  // From a picture's (group's) first element to a window's, and from a window's
  // first to each of its terms.
  std::vector<int32_t> windows;
  std::vector<int32_t> taps;
  tensor::FloatBuffer w;     // [groups, terms, stride]
  tensor::FloatBuffer bias;  // [groups, stride]

  const graph::Conv2dProblem& problem() const { return weights->problem; }
};

struct PatchesArgs {
  const Patches* patches;
  tensor::ConstRows x;
  tensor::MutableRows y;
};

// Whether a group is one window that covers it.
inline bool IsGroupedLinear(const graph::Conv2dProblem& p) {
  return p.kernel.height == p.from.height && p.kernel.width == p.from.width;
}

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// The lanes that a row of `outputs` weights is met with.
int64_t PatchLanes(int64_t outputs) {
  const auto all = static_cast<int64_t>(hn::Lanes(D()));
  if (outputs <= 4) return std::min<int64_t>(all, 4);
  if (outputs <= 8) return std::min<int64_t>(all, 8);
  return all;
}

template <int kRows>
HWY_INLINE void MultiplyGroup(const PatchesArgs& args, int64_t group,
                              int64_t row) {
  const Patches& patches = *args.patches;
  const graph::Conv2dWeights& weights = *patches.weights;
  const int64_t first = group * patches.outputs;
  const float* x[kRows];
  float* y[kRows];
  for (int r = 0; r < kRows; ++r) {
    x[r] = args.x.row(row + r) + group * patches.terms;
    y[r] = args.y.row(row + r) + first;
  }
  MultiplyRowsTransposed<kRows>(Product<float>{
      x, patches.terms, weights.w.data() + first * patches.terms, patches.terms,
      patches.outputs,
      patches.problem().has_bias ? weights.bias.data() + first : nullptr, y});
}

void GroupRows(const PatchesArgs& args, int64_t begin, int64_t end) {
  const graph::Conv2dProblem& p = args.patches->problem();
  int64_t row = begin;
  for (; row + 4 <= end; row += 4) {
    for (int64_t g = 0; g < p.groups; ++g) MultiplyGroup<4>(args, g, row);
  }
  for (; row < end; ++row) {
    for (int64_t g = 0; g < p.groups; ++g) MultiplyGroup<1>(args, g, row);
  }
  for (row = begin; row < end; ++row) {
    ActivateInPlace(p.activation, args.y.row(row), p.output_width);
  }
}

// Windows that meet a vector of weights together.
constexpr int kTileWindows = 8;

// Windows [first, first + kWindows) of a group of one picture, one vector of
// outputs, to `sums` [windows, stride].
template <int kWindows, class DV>
HWY_INLINE void SumWindows(DV d, const Patches& patches, const float* x,
                           const float* w, const float* bias, int64_t first,
                           float* sums) {
  const float* at[kWindows];
  hn::Vec<DV> sum[kWindows];
  for (int i = 0; i < kWindows; ++i) {
    at[i] = x + patches.windows[static_cast<size_t>(first + i)];
    sum[i] = hn::LoadU(d, bias);
  }
  const int32_t* const taps = patches.taps.data();
  for (int64_t t = 0; t < patches.terms; ++t, w += patches.stride) {
    const auto weights = hn::LoadU(d, w);
    for (int i = 0; i < kWindows; ++i) {
      sum[i] = hn::MulAdd(hn::Set(d, at[i][taps[t]]), weights, sum[i]);
    }
  }
  for (int i = 0; i < kWindows; ++i) {
    hn::StoreU(sum[i], d, sums + (first + i) * patches.stride);
  }
}

template <class DV, int kWindows = kTileWindows>
HWY_INLINE void SumTile(DV d, const Patches& patches, const float* x,
                        const float* w, const float* bias, int64_t first,
                        int64_t count, float* sums) {
  if constexpr (kWindows > 1) {
    if (count < kWindows) {
      return SumTile<DV, kWindows - 1>(d, patches, x, w, bias, first, count,
                                       sums);
    }
  }
  SumWindows<kWindows>(d, patches, x, w, bias, first, sums);
}

// to[o * windows + i] = from[i * stride + o] for all outputs and windows.
HWY_INLINE void TransposeSums(const float* from, int64_t stride,
                              int64_t windows, int64_t outputs, float* to) {
  if (windows < 4 || outputs < 4) {
    for (int64_t o = 0; o < outputs; ++o) {
      for (int64_t i = 0; i < windows; ++i) {
        to[o * windows + i] = from[i * stride + o];
      }
    }
    return;
  }
  // The last block of four may repeat some of the one before it.
  for (int64_t o4 = 0; o4 < outputs; o4 += 4) {
    const int64_t o = std::min(o4, outputs - 4);
    for (int64_t i4 = 0; i4 < windows; i4 += 4) {
      const int64_t i = std::min(i4, windows - 4);
      Transpose4(from + i * stride + o, stride, to + o * windows + i, windows);
    }
  }
}

template <class DV>
HWY_INLINE void PatchRowsOf(DV d, const PatchesArgs& args, int64_t begin,
                            int64_t end, float* sums) {
  const Patches& patches = *args.patches;
  const graph::Conv2dProblem& p = patches.problem();
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto windows = static_cast<int64_t>(patches.windows.size());
  // Tiles of about as many.
  const int64_t tiles = (windows + kTileWindows - 1) / kTileWindows;
  const int64_t tile = (windows + tiles - 1) / tiles;
  for (int64_t row = begin; row < end; ++row) {
    float* const y = args.y.row(row);
    for (int64_t g = 0; g < p.groups; ++g) {
      const float* const x = args.x.row(row) + g * patches.group_floats;
      const float* const w =
          patches.w.data() + g * patches.terms * patches.stride;
      const float* const bias = patches.bias.data() + g * patches.stride;
      for (int64_t col = 0; col < patches.stride; col += lanes) {
        for (int64_t done = 0; done < windows; done += tile) {
          SumTile(d, patches, x, w + col, bias + col, done,
                  std::min(tile, windows - done), sums + col);
        }
      }
      TransposeSums(sums, patches.stride, windows, patches.outputs,
                    y + g * patches.outputs * windows);
    }
  }
  for (int64_t row = begin; row < end; ++row) {
    ActivateInPlace(p.activation, args.y.row(row), p.output_width);
  }
}

void PatchRows(const PatchesArgs& args, int64_t begin, int64_t end,
               float* sums) {
  const int64_t outputs = args.patches->outputs;
  if (outputs <= 4) {
    return PatchRowsOf(hn::CappedTag<float, 4>(), args, begin, end, sums);
  }
  if (outputs <= 8) {
    return PatchRowsOf(hn::CappedTag<float, 8>(), args, begin, end, sums);
  }
  PatchRowsOf(D(), args, begin, end, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(PatchLanes);
HWY_EXPORT(GroupRows);
HWY_EXPORT(PatchRows);

namespace {

using graph::Conv2dProblem;

Patches Pack(std::shared_ptr<const graph::Conv2dWeights> weights) {
  const Conv2dProblem& p = weights->problem;
  const int64_t channels = p.from.channels / p.groups;
  Patches made;
  made.terms = channels * p.kernel.height * p.kernel.width;
  made.outputs = p.to.channels / p.groups;
  made.group_floats = p.from.size() / p.groups;
  made.weights = std::move(weights);
  if (IsGroupedLinear(p)) return made;
  const int64_t lanes = HWY_DYNAMIC_DISPATCH(PatchLanes)(made.outputs);
  made.stride = (made.outputs + lanes - 1) / lanes * lanes;
  for (int64_t i = 0; i < p.to.height; ++i) {
    for (int64_t j = 0; j < p.to.width; ++j) {
      made.windows.push_back(static_cast<int32_t>(
          i * p.stride.height * p.from.width + j * p.stride.width));
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t u = 0; u < p.kernel.height; ++u) {
      for (int64_t v = 0; v < p.kernel.width; ++v) {
        made.taps.push_back(
            static_cast<int32_t>((c * p.from.height + u) * p.from.width + v));
      }
    }
  }
  made.w = tensor::FloatBuffer(p.groups * made.terms * made.stride);
  made.bias = tensor::FloatBuffer(p.groups * made.stride);
  for (int64_t o = 0; o < p.to.channels; ++o) {
    const int64_t group = o / made.outputs;
    const int64_t at = o % made.outputs;
    const float* const from = made.weights->w.data() + o * made.terms;
    float* const to = made.w.data() + group * made.terms * made.stride + at;
    for (int64_t t = 0; t < made.terms; ++t) to[t * made.stride] = from[t];
    if (p.has_bias) {
      made.bias.data()[group * made.stride + at] = made.weights->bias[o];
    }
  }
  return made;
}

class Conv2dPatchesKernel : public Kernel {
 public:
  explicit Conv2dPatchesKernel(
      std::shared_ptr<const graph::Conv2dWeights> weights)
      : patches_(Pack(std::move(weights))) {}

  absl::string_view name() const override { return "conv2d_patches"; }
  std::vector<PackedCopy> packed() const override {
    return {{this, 4 * (patches_.w.size() + patches_.bias.size())}};
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const PatchesArgs args = {&patches_, in[0].floats(), y};
    // A thread is worth starting for about 2 us.
    const int64_t products = patches_.terms * patches_.problem().output_width;
    const int64_t grain = std::max<int64_t>(1, (64 << 10) / products);
    const auto floats =
        static_cast<int64_t>(patches_.windows.size()) * patches_.stride;
    context.ParallelFor(y.rows, grain,
                        [&](int64_t begin, int64_t end, int thread) {
                          if (IsGroupedLinear(patches_.problem())) {
                            HWY_DYNAMIC_DISPATCH(GroupRows)(args, begin, end);
                            return;
                          }
                          ScratchScope scratch(context.workspace(thread));
                          HWY_DYNAMIC_DISPATCH(PatchRows)
                          (args, begin, end, scratch.Floats(floats));
                        });
  }

 private:
  const Patches patches_;
};

// More weights are read once per row, from beyond L1: conv2d_onednn reads them
// once as well, in larger tiles.
constexpr int64_t kWeightsMax = 8 << 10;
// Outputs of a group, which stand in scratch until they are transposed: in L2.
constexpr int64_t kSumsMax = 64 << 10;

// Windows side by side along one side of the picture.
bool AreApart(int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
              int64_t positions) {
  return padding == 0 && (dilation == 1 || kernel == 1) &&
         (kernel <= stride || positions == 1);
}

bool Supports(const Conv2dProblem& p) {
  if (p.groups < 1 || p.from.size() < 1 || p.to.size() < 1) return false;
  const int64_t taps = p.kernel.height * p.kernel.width;
  return AreApart(p.kernel.height, p.stride.height, p.padding.height,
                  p.dilation.height, p.to.height) &&
         AreApart(p.kernel.width, p.stride.width, p.padding.width,
                  p.dilation.width, p.to.width) &&
         p.to.channels * (p.from.channels / p.groups) * taps <= kWeightsMax &&
         p.to.size() / p.groups <= kSumsMax &&
         p.from.size() < (int64_t{1} << 31);
}

// us on one thread, from the table above.
double Cost(const Conv2dProblem& p, int64_t rows) {
  const int64_t taps =
      p.kernel.height * p.kernel.width * (p.from.channels / p.groups);
  const auto products = static_cast<double>(taps * p.to.size());
  return 0.05 + static_cast<double>(rows) * 3e-5 * products;
}

std::unique_ptr<Kernel> Make(
    std::shared_ptr<const graph::Conv2dWeights> weights) {
  return std::make_unique<Conv2dPatchesKernel>(std::move(weights));
}

}  // namespace

Conv2dKernelEntry Conv2dPatches() {
  return {"conv2d_patches", false, Supports, Cost, Make, kOwnSumsAlike};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

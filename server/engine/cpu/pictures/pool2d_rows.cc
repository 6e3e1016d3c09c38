// pool2d_rows: the greatest element or the mean of a window, per channel.
//
//   x [rows, C, H, W] -> y [rows, C, H', W']
//
// A window is taken in two passes, so that the long one reads contiguous memory
// of any stride: down its rows into one line [padding + W + padding] that stays
// in L1, then across that line. Padding stands in the line as -inf or 0, so no
// pass asks where it is.
//
// Planes (rows x C) are split over the threads; no sum crosses one, so a row's
// answer does not depend on its neighbours. A plane takes KH W H' + KW W' H'
// steps and reads KH H' W floats, all but H W of them from the cache.
//
// One thread, us per row (greatest, mean), and oneDNN 2.6.3 with AVX2 beside
// it, in its blocked layout with a reorder before and after, and in the plain
// one:
//
//                              this        oneDNN, blocked  oneDNN, plain
//   6x28x28, 2x2 stride 2      2.6, 2.8     12, 5.6            32, 23
//   64x32x32, 2x2 stride 2     29, 27       75, 23            431, 312
//   64x112x112, 3x3 stride 2   414, 269     901, 247        8,215, 4,357
//     pad 1
//   192x28x28, 3x3 pad 1       191, 177     555, 99         6,149, 3,283
//   512x7x7, 7x7               24, 31       9, 10              82, 29
//
// oneDNN's maximum also drops a NaN. These loops are vectorised for the
// baseline of the compiler (SSE2).
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "server/engine/kernel_list.h"

namespace fff::engine {
namespace {

// Elements that a thread takes at least; below this the hand-over costs more.
constexpr int64_t kGrainFloats = 16384;

struct Greatest {
  static constexpr float kNothing = -std::numeric_limits<float>::infinity();
  // A NaN on either side is the result; both comparisons vectorise.
  static float Join(float a, float b) { return ((b > a) | (b != b)) ? b : a; }
  static float Finish(float a, float /*elements*/) { return a; }
};

struct Mean {
  static constexpr float kNothing = 0;
  static float Join(float a, float b) { return a + b; }
  static float Finish(float a, float elements) { return a / elements; }
};

// line[i] joined over the rows of the window that lie on the picture.
template <class Over>
void Down(const graph::Pool2dProblem& p, const float* plane, int64_t top,
          float* line) {
  const int64_t width = p.from.width;
  const int64_t first = std::max<int64_t>(top, 0);
  const int64_t last = std::min(top + p.size.height, p.from.height);
  if (first >= last) {
    std::fill_n(line, width, Over::kNothing);
    return;
  }
  std::copy_n(plane + first * width, width, line);
  for (int64_t i = first + 1; i < last; ++i) {
    const float* const row = plane + i * width;
    for (int64_t j = 0; j < width; ++j) line[j] = Over::Join(line[j], row[j]);
  }
}

// y[j] joined over the window's columns; kStride 0 stands for any.
template <class Over, int64_t kStride>
void Across(const graph::Pool2dProblem& p, const float* line, float* y) {
  const int64_t stride = kStride == 0 ? p.stride.width : kStride;
  const int64_t width = p.to.width;
  for (int64_t j = 0; j < width; ++j) y[j] = line[j * stride];
  for (int64_t v = 1; v < p.size.width; ++v) {
    const float* const from = line + v;
    for (int64_t j = 0; j < width; ++j) {
      y[j] = Over::Join(y[j], from[j * stride]);
    }
  }
  const auto elements = static_cast<float>(p.size.height * p.size.width);
  for (int64_t j = 0; j < width; ++j) y[j] = Over::Finish(y[j], elements);
}

// Windows of 2 x 2 side by side, the most frequent, in one pass without the
// line between: 0.5 -> 0.33 us for 1x28x28. Most of that is reading a row that
// is not in L1; vectors of AVX-512 took as long.
template <class Over>
void PoolPairs(const graph::Pool2dProblem& p, const float* x, float* y) {
  for (int64_t i = 0; i < p.to.height; ++i) {
    const float* const upper = x + 2 * i * p.from.width;
    const float* const lower = upper + p.from.width;
    float* const to = y + i * p.to.width;
    for (int64_t j = 0; j < p.to.width; ++j) {
      const float left = Over::Join(upper[2 * j], lower[2 * j]);
      const float right = Over::Join(upper[2 * j + 1], lower[2 * j + 1]);
      to[j] = Over::Finish(Over::Join(left, right), 4);
    }
  }
}

bool HasPairs(const graph::Pool2dProblem& p) {
  const auto both = [](const graph::Pair& pair, int64_t length) {
    return pair.height == length && pair.width == length;
  };
  return both(p.size, 2) && both(p.stride, 2) && both(p.padding, 0);
}

// One channel of one picture; `line` is [padding + from.width + padding].
template <class Over>
void PoolPlane(const graph::Pool2dProblem& p, const float* x, float* line,
               float* y) {
  const auto across = p.stride.width == 1   ? Across<Over, 1>
                      : p.stride.width == 2 ? Across<Over, 2>
                                            : Across<Over, 0>;
  for (int64_t i = 0; i < p.to.height; ++i) {
    Down<Over>(p, x, i * p.stride.height - p.padding.height,
               line + p.padding.width);
    across(p, line, y + i * p.to.width);
  }
}

template <class Over>
void PoolPlanes(const graph::Pool2dProblem& p, const float* x, int64_t begin,
                int64_t end, Workspace& workspace, float* y) {
  const int64_t from = p.from.height * p.from.width;
  const int64_t to = p.to.height * p.to.width;
  const int64_t length = p.from.width + 2 * p.padding.width;
  ScratchScope scratch(workspace);
  float* const line = scratch.Floats(length);
  std::fill_n(line, length, Over::kNothing);
  const bool pairs = HasPairs(p);
  for (int64_t plane = begin; plane < end; ++plane) {
    if (pairs) {
      PoolPairs<Over>(p, x + plane * from, y + plane * to);
    } else {
      PoolPlane<Over>(p, x + plane * from, line, y + plane * to);
    }
  }
}

class Pool2dRowsKernel : public Kernel {
 public:
  explicit Pool2dRowsKernel(std::shared_ptr<const graph::Pool2dWeights> weights)
      : weights_(std::move(weights)) {}

  absl::string_view name() const override { return "pool2d_rows"; }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const graph::Pool2dProblem& p = weights_->problem;
    const float* const x = in[0].floats().data;
    const auto pool = p.kind == graph::Pool2dProblem::Kind::kMax
                          ? PoolPlanes<Greatest>
                          : PoolPlanes<Mean>;
    const int64_t grain =
        std::max<int64_t>(1, kGrainFloats / (p.from.height * p.from.width));
    context.ParallelFor(y.rows * p.from.channels, grain,
                        [&](int64_t begin, int64_t end, int index) {
                          pool(p, x, begin, end, context.workspace(index),
                               y.data);
                        });
  }

 private:
  const std::shared_ptr<const graph::Pool2dWeights> weights_;
};

bool Supports(const graph::Pool2dProblem& p) {
  return p.from.size() >= 1 && p.to.size() >= 1;
}

// us on one thread, from the table above.
double Cost(const graph::Pool2dProblem& p, int64_t rows) {
  const int64_t lines = p.to.channels * p.to.height;
  const int64_t steps =
      lines * (p.size.height * p.from.width + p.size.width * p.to.width);
  return static_cast<double>(rows) * (0.01 * static_cast<double>(lines) +
                                      2e-4 * static_cast<double>(steps));
}

std::unique_ptr<Kernel> Make(
    std::shared_ptr<const graph::Pool2dWeights> weights) {
  return std::make_unique<Pool2dRowsKernel>(std::move(weights));
}

}  // namespace

template <>
KernelsFor<graph::Pool2d> KernelsOf<graph::Pool2d>() {
  static const KernelEntry<graph::Pool2dWeights> kEntry = {
      "pool2d_rows", false, Supports, Cost, Make};
  return {&kEntry, 1};
}

}  // namespace fff::engine

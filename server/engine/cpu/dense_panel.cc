// dense_panel: y = act(x.W^T + b) from W packed into panels of columns; a row's
// sums are the same in every batch.
//
//   x [rows, I], W [O, I], b [O] -> y [rows, O]
//
// 1. At construction W goes into panels of kPanelVectors vectors of outputs,
//    each [I, its width], so that every product reads it in one stream.
// 2. A batch is cut into chunks of rows and blocks of terms whose part of x
//    stays in L2. Each panel's block meets them in register tiles of up to
//    kPanelRows rows; one to three rows take several panels at a time, so that
//    enough sums are in flight.
// 3. Eight panels after their last block: activate, while y is in L1.
//
// Each output is bias + x[0] w[0] + x[1] w[1] ..., fused and in this order
// whatever the tile, so a row's bits do not depend on how many others there
// are: what stands in front of an FFF layer decides the same ways in every
// batch. Elsewhere sums differ from batch size to batch size (dense_onednn), or
// are slower (dense_dot).
//
// GFLOP/s on one thread of a Zen 4, dense_onednn beside from the same run, W of
// several layers in turns, so that none is in L2 (one run):
//
//                        AVX-512     AVX2
//   768->768,    128     111  110    106  109
//   768->2304,   128     110  110    106  107
//   768->2304, 1,024     108  112    104  109
//   768->32768,  128     106  109    104  107
//   768->3072,    16      96   84     72   81
//   768->2304,     6      71   58     56   57
//   128->384,     65     109   87    109   88
//
// Work is split by outputs. A row takes 2 I O FLOPs; a chunk reads 4 I O bytes
// of weights once.
#include <algorithm>
#include <utility>

#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/dense_panel.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/cache_control.h"
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/panel_product-inl.h"

#ifndef FFF_ENGINE_CPU_DENSE_PANEL_ONCE
#define FFF_ENGINE_CPU_DENSE_PANEL_ONCE
namespace fff::engine {

// A chunk's block of x (at most 393 KB) and a panel's block of W (AVX2: 48 KB,
// AVX-512: 96 KB) stay in L2. Smaller blocks, for L1, load and store y once
// more per block: 384 terms took up to 1.07 times as long, 256 terms 1.1 (both
// instruction sets). Chunks of 48 rows read W from L3 more often: 1.05.
constexpr int64_t kChunkRows = 128;
constexpr int64_t kBlockTerms = 768;
constexpr int64_t kGroupPanels = 8;
// How far ahead W is fetched, in terms, every cache line of it. Alone, one
// stream of W from L3 runs at half the speed; with every other line (a term of
// AVX-512 has two) the whole product took 1.1 to 1.3 times as long.
constexpr int64_t kFetchAhead = 32;
constexpr int64_t kLineFloats = 16;

struct DensePanelArgs {
  const DenseProblem* problem;
  const float* panels;  // [panels][I, width]
  const float* bias;    // [O in whole vectors]
  tensor::ConstRows x;
  tensor::MutableRows y;
};

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// Rows [row, row + rows) and terms [term, term + terms).
struct DenseBlock {
  const DensePanelArgs& args;
  int64_t row;
  int64_t rows;
  int64_t term;
  int64_t terms;
};

// Adds the block's terms to kRows rows of kPanels panels from column `col` on.
template <int kRows, int kPanels, int kVectors>
HWY_NOINLINE void AddTerms(const DenseBlock& block, int64_t row, int64_t col) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const DensePanelArgs& args = block.args;
  const DenseProblem& p = *args.problem;
  const float* x[kRows];
  V acc[kRows][kPanels * kVectors];
  for (int r = 0; r < kRows; ++r) {
    x[r] = args.x.row(row + r) + block.term;
    for (int c = 0; c < kPanels * kVectors; ++c) {
      const int64_t at = col + c * lanes;
      acc[r][c] = block.term == 0 ? hn::LoadU(d, args.bias + at)
                                  : LoadColumns(args.y.row(row + r) + at,
                                                p.output_width - at);
    }
  }
  const int64_t panel = kVectors * lanes;
  const float* w = args.panels + col * p.input_width + block.term * panel;
  for (int64_t k = 0; k < block.terms; ++k) {
    V weight[kPanels * kVectors];
    for (int q = 0; q < kPanels; ++q) {
      const float* ahead = w + (q * p.input_width + kFetchAhead) * panel;
      for (int64_t at = 0; at < panel; at += kLineFloats) {
        hwy::Prefetch(ahead + at);
      }
    }
    for (int q = 0; q < kPanels; ++q) {
      for (int c = 0; c < kVectors; ++c) {
        weight[q * kVectors + c] =
            hn::LoadU(d, w + q * panel * p.input_width + c * lanes);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const V value = hn::Set(d, x[r][k]);
      for (int c = 0; c < kPanels * kVectors; ++c) {
        acc[r][c] = hn::MulAdd(value, weight[c], acc[r][c]);
      }
    }
    w += panel;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kPanels * kVectors; ++c) {
      const int64_t at = col + c * lanes;
      StoreColumns(acc[r][c], args.y.row(row + r) + at, p.output_width - at);
    }
  }
}

// One tile of `rows` rows, 1 .. kPanelRows, and one panel.
template <int kVectors, int kRows = kPanelRows>
HWY_INLINE void AddTile(const DenseBlock& block, int64_t row, int64_t rows,
                        int64_t col) {
  if constexpr (kRows > 1) {
    if (rows < kRows)
      return AddTile<kVectors, kRows - 1>(block, row, rows, col);
  }
  AddTerms<kRows, 1, kVectors>(block, row, col);
}

// A panel for all rows of the block, in tiles of about as many.
template <int kVectors>
HWY_INLINE void AddPanel(const DenseBlock& block, int64_t col) {
  const int64_t tiles = (block.rows + kPanelRows - 1) / kPanelRows;
  int64_t done = 0;
  for (int64_t t = 1; t <= tiles; ++t) {
    const int64_t end = block.rows * t / tiles;
    AddTile<kVectors>(block, block.row + done, end - done, col);
    done = end;
  }
}

// Columns [begin, end), whole panels but for the last.
HWY_INLINE void AddColumns(const DenseBlock& block, int64_t begin,
                           int64_t end) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t panel = kPanelVectors * lanes;
  int64_t col = begin;
  // Whole panels: the last vector may be a part.
  const int64_t whole = begin + (end - begin + lanes - 1) / panel * panel;
  if (block.rows == 1) {
    for (; col + 4 * panel <= whole; col += 4 * panel) {
      AddTerms<1, 4, kPanelVectors>(block, block.row, col);
    }
  } else if (block.rows == 2) {
    for (; col + 2 * panel <= whole; col += 2 * panel) {
      AddTerms<2, 2, kPanelVectors>(block, block.row, col);
    }
  } else if (block.rows == 3) {
    for (; col + 2 * panel <= whole; col += 2 * panel) {
      AddTerms<3, 2, kPanelVectors>(block, block.row, col);
    }
  }
  for (; col < whole; col += panel) AddPanel<kPanelVectors>(block, col);
  if (col < end) AddPanel<1>(block, col);
}

// Panels [begin, end).
void DensePanels(const DensePanelArgs& args, int64_t begin, int64_t end) {
  const DenseProblem& p = *args.problem;
  const int64_t panel = kPanelVectors * static_cast<int64_t>(hn::Lanes(D()));
  const int64_t last = std::min(end * panel, p.output_width);
  for (int64_t row = 0; row < args.x.rows; row += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, args.x.rows - row);
    for (int64_t col = begin * panel; col < last; col += kGroupPanels * panel) {
      const int64_t stop = std::min(col + kGroupPanels * panel, last);
      for (int64_t k = 0; k < p.input_width; k += kBlockTerms) {
        const int64_t terms = std::min(kBlockTerms, p.input_width - k);
        AddColumns({args, row, rows, k, terms}, col, stop);
      }
      if (p.activation == Activation::kIdentity) continue;
      for (int64_t r = row; r < row + rows; ++r) {
        ActivateInPlace(p.activation, args.y.row(r) + col, stop - col);
      }
    }
  }
}

int64_t DensePanelWidth() {
  return kPanelVectors * static_cast<int64_t>(hn::Lanes(D()));
}

// W [O, I] into panels, zeros behind the last output of the last vector.
void PackDensePanels(const DenseProblem& p, const float* w, float* panels) {
  for (int64_t col = 0; col < p.output_width;) {
    const int64_t width = PanelWidth(p.output_width, col);
    for (int64_t c = 0; c < width; ++c) {
      const bool there = col + c < p.output_width;
      for (int64_t k = 0; k < p.input_width; ++k) {
        panels[k * width + c] = there ? w[(col + c) * p.input_width + k] : 0;
      }
    }
    panels += width * p.input_width;
    col += width;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(DensePanels);
HWY_EXPORT(DensePanelWidth);
HWY_EXPORT(PackDensePanels);

namespace {

class DensePanelKernel : public Kernel {
 public:
  explicit DensePanelKernel(std::shared_ptr<const DenseWeights> weights)
      : weights_(std::move(weights)),
        width_(HWY_DYNAMIC_DISPATCH(DensePanelWidth)()),
        panels_((weights_->problem.output_width + width_ - 1) / width_),
        packed_(panels_ * width_ * weights_->problem.input_width),
        bias_(panels_ * width_) {
    const DenseProblem& p = weights_->problem;
    HWY_DYNAMIC_DISPATCH(PackDensePanels)
    (p, weights_->w.data(), packed_.data());
    std::fill_n(bias_.data(), bias_.size(), 0.0F);
    if (p.has_bias) {
      std::copy_n(weights_->bias.data(), p.output_width, bias_.data());
    }
  }

  absl::string_view name() const override { return "dense_panel"; }
  int64_t packed_bytes() const override {
    return 4 * (packed_.size() + bias_.size());
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const DenseProblem& p = weights_->problem;
    const DensePanelArgs args = {&p, packed_.data(), bias_.data(),
                                 in[0].floats(), y};
    if (args.x.rows == 0) return;
    // A thread is worth starting for 64 KB of weights (about 1 us).
    const int64_t grain =
        std::max<int64_t>(1, (16 << 10) / (p.input_width * width_));
    context.ParallelFor(panels_, grain, [&](int64_t begin, int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(DensePanels)(args, begin, end);
    });
  }

 private:
  std::shared_ptr<const DenseWeights> weights_;
  int64_t width_;  // of a panel
  int64_t panels_;
  tensor::FloatBuffer packed_;
  tensor::FloatBuffer bias_;
};

bool Supports(const DenseProblem& p) {
  return p.input_width >= 1 && p.output_width >= 1;
}

// us in the measure of dense_onednn's (Zen 5), by the ratios above. Columns
// count up to whole panels of AVX2.
double Cost(const DenseProblem& p, int64_t rows) {
  const int64_t columns = (p.output_width + 15) / 16 * 16;
  const double macs =
      static_cast<double>(p.input_width) * static_cast<double>(columns);
  return 0.1 + macs * std::max(3.0e-5, 1.0e-5 * static_cast<double>(rows));
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const DenseWeights> weights) {
  return std::make_unique<DensePanelKernel>(std::move(weights));
}

}  // namespace

DenseKernelEntry DensePanel() {
  return {"dense_panel", false, Supports, Cost, Make, kOwnSumsAlike};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

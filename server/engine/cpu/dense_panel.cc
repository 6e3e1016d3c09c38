// dense_panel: y = act(x.W^T + b) from W packed into panels of columns; a row's
// sums are the same in every batch.
//
//   x [rows, I], W [O, I], b [O] -> y [rows, O]
//
// 1. At construction W goes into panels of outputs, each [I, its width]: every
//    product reads it in one stream. With AVX-512 these are the blocks that
//    dense_onednn packs, so both share one copy (packed_dense.h).
// 2. A batch is cut into chunks of rows and blocks of terms whose part of x
//    stays in L2. Each panel's block meets them in register tiles of up to
//    kTileRows rows; one to three rows take several panels at a time, so that
//    enough sums are in flight. The columns behind the last whole panel are too
//    few for that: each is the sum of two or four sums of every second or
//    fourth term.
// 3. A group of panels after its last block: activate, while y is in L1.
//
// Each output is bias + x[0] w[0] + x[1] w[1] ..., fused and in an order that
// depends on its column alone, so a row's bits do not depend on how many others
// there are: what stands in front of an FFF layer decides the same ways in
// every batch. Elsewhere sums differ from batch size to batch size
// (dense_onednn), or are slower (dense_dot).
//
// GFLOP/s on one thread of a Zen 4, dense_onednn beside from the same run, W of
// several layers in turns, so that none is in L2. Taken with panels of 32
// columns; those of dense_onednn, of 64, cost 3 to 6 % more at 16 rows and
// under 1 % at 256 (768->4095, AVX-512).
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
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/cpu/packed_dense.h"
#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/dense_panel.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/dense_tile-inl.h"

#ifndef FFF_ENGINE_CPU_DENSE_PANEL_ONCE
#define FFF_ENGINE_CPU_DENSE_PANEL_ONCE
namespace fff::engine {

// A chunk's rows of x, of one block of terms: at most 393 KB.
constexpr int64_t kChunkRows = 128;

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

// A chunk's block of x and a panel's block of W (AVX2: 48 KB, AVX-512: 192 KB)
// stay in L2. Smaller blocks, for L1, load and store y once more per block: 384
// terms took up to 1.07 times as long, 256 terms 1.1 (both instruction sets).
// Chunks of 48 rows read W from L3 more often: 1.05.
constexpr int64_t kBlockTerms = 768;
// Of 128 columns with AVX2, 256 with AVX-512.
constexpr int64_t kGroupPanels = HWY_LANES(float) >= 16 ? 4 : 8;

template <int kVectors, int kChains, int kRows>
HWY_INLINE void AddTailTile(const DenseBlock& block, int64_t row, int64_t rows,
                            int64_t col) {
  if constexpr (kRows > 1) {
    if (rows < kRows) {
      return AddTailTile<kVectors, kChains, kRows - 1>(block, row, rows, col);
    }
  }
  AddTailTerms<kRows, kVectors, kChains>(block, row, col);
}

// The last kVectors vectors of columns for all rows of the block. One row has
// four or more sums in flight, since each add waits for four cycles; a tile has
// as many as AddTerms. 784 -> 32, AVX-512 (Zen 4), with one vector and one sum
// per column at a time, and so: one row 1.82 -> 1.21 us. What is left is the
// time that 100 KB of weights take from L2.
template <int kVectors>
HWY_INLINE void AddTail(const DenseBlock& block, int64_t col) {
  constexpr int kChains = kVectors == 1 ? 4 : 2;
  constexpr int kSums = kTileRows * kTileVectors;
  constexpr int kRows = std::min(kTileRows, kSums / (kVectors * kChains));
  for (int64_t done = 0; done < block.rows; done += kRows) {
    AddTailTile<kVectors, kChains, kRows>(block, block.row + done,
                                          block.rows - done, col);
  }
}

// One tile of `rows` rows, 1 .. kTileRows, and one panel.
template <int kVectors, int kRows = kTileRows>
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
  const int64_t tiles = (block.rows + kTileRows - 1) / kTileRows;
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
  const int64_t panel = kTileVectors * lanes;
  int64_t col = begin;
  // Whole panels: the last vector may be a part.
  const int64_t whole = begin + (end - begin + lanes - 1) / panel * panel;
  // As many panels at a time as have eight sums for each row.
  constexpr int kFew = kTileVectors == 4 ? 1 : 2;
  if (block.rows == 1) {
    for (; col + 2 * kFew * panel <= whole; col += 2 * kFew * panel) {
      AddTerms<1, 2 * kFew, kTileVectors>(block, block.row, col);
    }
  } else if (block.rows == 2) {
    for (; col + 2 * panel <= whole; col += 2 * panel) {
      AddTerms<2, 2, kTileVectors>(block, block.row, col);
    }
  } else if (block.rows == 3) {
    for (; col + kFew * panel <= whole; col += kFew * panel) {
      AddTerms<3, kFew, kTileVectors>(block, block.row, col);
    }
  }
  // A row of AVX2 has two sums per panel in flight: where there are never four
  // panels for it, each takes two sums per column.
  const bool narrow =
      kTileVectors == 2 && block.args.problem->output_width < 4 * panel;
  for (; col < whole; col += panel) {
    if (narrow) {
      AddTail<kTileVectors>(block, col);
    } else {
      AddPanel<kTileVectors>(block, col);
    }
  }
  switch ((end - col + lanes - 1) / lanes) {
    case 1:
      return AddTail<1>(block, col);
    case 2:
      return AddTail<2>(block, col);
    case 3:
      return AddTail<3>(block, col);
    default:
      return;
  }
}

// Panels [begin, end).
void DensePanels(const DensePanelArgs& args, int64_t begin, int64_t end) {
  const DenseProblem& p = *args.problem;
  const int64_t panel = kTileVectors * static_cast<int64_t>(hn::Lanes(D()));
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

// Columns of a panel. One that is not whole has as many vectors as it needs.
int64_t DensePanelWidth(int64_t columns) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  return std::min(kTileVectors * lanes, (columns + lanes - 1) / lanes * lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(DensePanels);
HWY_EXPORT(DensePanelWidth);

namespace {

// W in panels of its own: oneDNN has none on this machine, or larger ones.
class OwnPanels : public PackedPanels {
 public:
  OwnPanels(const DenseWeights& weights, int64_t columns)
      : problem_(weights.problem),
        columns_(columns),
        panels_((problem_.output_width + columns - 1) / columns),
        packed_(panels_ * columns * problem_.input_width) {
    for (int64_t o = 0; o < problem_.output_width; ++o) {
      const float* const from = weights.w.data() + o * problem_.input_width;
      float* const to = packed_.data() + Offset(o);
      for (int64_t i = 0; i < problem_.input_width; ++i) {
        to[i * columns_] = from[i];
      }
    }
  }

  const float* data() const override { return packed_.data(); }
  PanelLayout layout() const override {
    return {columns_, columns_ * problem_.input_width};
  }
  int64_t bytes() const override { return 4 * packed_.size(); }
  tensor::FloatArray Plain() const override {
    tensor::FloatBuffer plain(problem_.input_width * problem_.output_width);
    for (int64_t o = 0; o < problem_.output_width; ++o) {
      const float* const from = packed_.data() + Offset(o);
      float* const to = plain.data() + o * problem_.input_width;
      for (int64_t i = 0; i < problem_.input_width; ++i) {
        to[i] = from[i * columns_];
      }
    }
    return std::move(plain).Freeze();
  }

 private:
  int64_t Offset(int64_t output) const {
    return output / columns_ * columns_ * problem_.input_width +
           output % columns_;
  }

  DenseProblem problem_;
  int64_t columns_;
  int64_t panels_;
  tensor::FloatBuffer packed_;
};

std::shared_ptr<const PackedPanels> PanelsOf(const DenseWeights& weights,
                                             int64_t columns) {
  auto shared = OnednnPanels(weights, columns);
  if (shared != nullptr) return shared;
  return std::static_pointer_cast<const PackedPanels>(weights.copies.FindOrMake(
      "panels",
      [&] { return std::make_shared<const OwnPanels>(weights, columns); }));
}

class DensePanelKernel : public Kernel {
 public:
  explicit DensePanelKernel(const DenseWeights& weights)
      : problem_(weights.problem),
        width_(HWY_DYNAMIC_DISPATCH(DensePanelWidth)(problem_.output_width)),
        panels_((problem_.output_width + width_ - 1) / width_),
        packed_(PanelsOf(weights, width_)),
        bias_(panels_ * width_) {
    if (problem_.has_bias) {
      std::copy_n(weights.bias.data(), problem_.output_width, bias_.data());
    }
  }

  absl::string_view name() const override { return "dense_panel"; }
  bool reads_plain_rows() const override { return false; }
  std::vector<PackedCopy> packed() const override {
    return {{packed_.get(), packed_->bytes()}, {this, 4 * bias_.size()}};
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const DenseProblem& p = problem_;
    const DensePanelArgs args = {
        &p,           packed_->data(), packed_->layout(),
        bias_.data(), in[0].floats(),  y};
    if (args.x.rows == 0) return;
    // A thread is worth starting for 64 KB of weights (about 1 us).
    const int64_t grain =
        std::max<int64_t>(1, (16 << 10) / (p.input_width * width_));
    context.ParallelFor(panels_, grain, [&](int64_t begin, int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(DensePanels)(args, begin, end);
    });
  }

 private:
  DenseProblem problem_;
  int64_t width_;  // of a panel
  int64_t panels_;
  std::shared_ptr<const PackedPanels> packed_;
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
  return std::make_unique<DensePanelKernel>(*weights);
}

}  // namespace

DenseKernelEntry DensePanel() {
  return {"dense_panel", false, Supports, Cost, Make, kOwnSumsAlike};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

// leaf_grouped: many rows; descend all, sort by leaf, one small product per
// leaf.
//
//   x [rows, I] -> depth decisions -> one leaf of I -> (l) -> O -> y [rows, O]
//
// 1. Descend all rows of a chunk, blocked for L1 and L2 (descent-inl.h).
// 2. Sort the rows by leaf.
// 3. For each run of rows with one leaf: hidden = act(x.w1 + b1), then
//    y = hidden.w2 + b2, four rows at a time, so that a leaf's weights are
//    loaded once for four rows.
// 4. Long runs of wide fp32 leaves go to oneDNN's sgemm instead, on gathered
// rows.
//
// Work is split by rows, never by leaf: a leaf that takes most of the batch is
// shared by all threads. A row takes 2 * (depth * I + l * (I + O)) FLOPs and
// reads twice that many bytes of weights, most of them from L1 or L2. Benchmark
// case: leaf-784-8-10-d4. 256 rows of leaf-768-32-768-d12 take 1.63 ms, with
// weights of bf16 and int8 1.53 and 1.29 (Zen 5). Tried and dropped: weights of
// the next 1 to 16 KB of a leaf fetched into L2 ahead, 3.4 to 3.5 ms instead of
// 3.5 to 3.8, into L1 3.7 to 4.1 (that case, a busy Zen 4).
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "server/base/cpu_info.h"
#include "server/engine/cpu/packed_leaf.h"
#include "server/engine/kernel_entry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/engine/cpu/leaf_grouped.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "server/engine/cpu/activation-inl.h"
#include "server/engine/cpu/descent-inl.h"
#include "server/engine/cpu/leaf-inl.h"
#include "server/engine/cpu/leaf_products-inl.h"

#ifndef FFF_ENGINE_CPU_LEAF_GROUPED_ONCE
#define FFF_ENGINE_CPU_LEAF_GROUPED_ONCE
namespace fff::engine {

struct LeafGroupedArgs {
  const PackedLeaf* layer;
  BatchShape shape;
  int64_t chunk_rows;
  tensor::ConstRows x;
  tensor::MutableRows y;
  RouteSink routes;
};

// A run of rows of one leaf, order[0 .. count), row ids counted from first_row.
struct LeafRun {
  int64_t leaf;
  int64_t first_row;
  const int32_t* order;
  int64_t count;
};

// Runs from this many rows on, of leaves this wide, go to oneDNN.
constexpr int64_t kGemmRows = 48;
constexpr int64_t kGemmWidth = 64;
constexpr int64_t kGemmRowsMax = 512;  // rows gathered at a time

}  // namespace fff::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace fff::engine {
namespace HWY_NAMESPACE {

template <class W, int kRows>
HWY_INLINE void RunLeafTile(const LeafGroupedArgs& args, const LeafRun& run,
                            int64_t at, float* hidden) {
  const PackedLeaf& layer = *args.layer;
  const LeafProblem& p = layer.problem();
  const float* x[kRows];
  float* h[kRows];
  float* y[kRows];
  for (int b = 0; b < kRows; ++b) {
    const int64_t row = run.first_row + run.order[at + b];
    x[b] = args.x.row(row);
    h[b] = hidden + b * p.leaf_width;
    y[b] = args.y.row(row);
  }
  FirstProduct<W, kRows>(layer, run.leaf, x, h);
  ActivateInPlace(p.activation, hidden, kRows * p.leaf_width);
  SecondProduct<W, kRows>(layer, run.leaf, h, y);
}

template <class W>
HWY_INLINE void RunLeafTiles(const LeafGroupedArgs& args, const LeafRun& run,
                             Workspace& workspace) {
  ScratchScope scratch(workspace);
  float* hidden = scratch.Floats(4 * args.layer->problem().leaf_width);
  int64_t i = 0;
  for (; i + 4 <= run.count; i += 4) RunLeafTile<W, 4>(args, run, i, hidden);
  for (; i + 2 <= run.count; i += 2) RunLeafTile<W, 2>(args, run, i, hidden);
  for (; i < run.count; ++i) RunLeafTile<W, 1>(args, run, i, hidden);
}

// y [rows, n] += a [rows, k] . w [k, n], on this thread alone.
HWY_INLINE void Gemm(int64_t rows, int64_t n, int64_t k, const float* a,
                     const float* w, float* y) {
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  // Fails only on sizes below zero.
  dnnl_sgemm('N', 'N', rows, n, k, 1.0f, a, k, w, n, 1.0f, y, n);
}

// At most kGemmRowsMax rows through oneDNN.
HWY_INLINE void RunLeafGemm(const LeafGroupedArgs& args, const LeafRun& run,
                            Workspace& workspace) {
  const PackedLeaf& layer = *args.layer;
  const LeafProblem& p = layer.problem();
  ScratchScope scratch(workspace);
  float* x = scratch.Floats(run.count * p.input_width);
  float* hidden = scratch.Floats(run.count * p.leaf_width);
  float* y = scratch.Floats(run.count * p.output_width);
  for (int64_t i = 0; i < run.count; ++i) {
    const float* row = args.x.row(run.first_row + run.order[i]);
    std::copy(row, row + p.input_width, x + i * p.input_width);
    const float* b1 = layer.B1(run.leaf);
    std::copy(b1, b1 + p.leaf_width, hidden + i * p.leaf_width);
    const float* b2 = layer.B2(run.leaf);
    float* to = y + i * p.output_width;
    if (b2 != nullptr) {
      std::copy(b2, b2 + p.output_width, to);
    } else {
      std::fill(to, to + p.output_width, 0.0f);
    }
  }
  Gemm(run.count, p.leaf_width, p.input_width, x,
       layer.W1<float>(run.leaf).data, hidden);
  ActivateInPlace(p.activation, hidden, run.count * p.leaf_width);
  Gemm(run.count, p.output_width, p.leaf_width, hidden,
       layer.W2<float>(run.leaf).data, y);
  for (int64_t i = 0; i < run.count; ++i) {
    const float* from = y + i * p.output_width;
    std::copy(from, from + p.output_width,
              args.y.row(run.first_row + run.order[i]));
  }
}

template <class W>
HWY_INLINE void RunLeaf(const LeafGroupedArgs& args, LeafRun run,
                        Workspace& workspace) {
  if constexpr (std::is_same_v<W, float>) {
    while (run.count >= kGemmRows &&
           args.layer->problem().leaf_width >= kGemmWidth) {
      LeafRun part = run;
      part.count = std::min(run.count, kGemmRowsMax);
      RunLeafGemm(args, part, workspace);
      run.order += part.count;
      run.count -= part.count;
    }
  }
  RunLeafTiles<W>(args, run, workspace);
}

template <class W>
HWY_INLINE void GroupedRows(const LeafGroupedArgs& args, int64_t begin,
                            int64_t end, Workspace& workspace) {
  const LeafWeights& weights = args.layer->weights();
  const LeafProblem& p = weights.problem;
  for (int64_t r = begin; r < end; r += args.chunk_rows) {
    const int64_t rows = std::min(args.chunk_rows, end - r);
    ScratchScope scratch(workspace);
    const Walk<W> walk = {{args.layer->Nodes<W>(), weights.node_biases.data(),
                           p.input_width, p.tie == Tie::kRight},
                          p.depth,
                          args.x.row(r),
                          rows,
                          scratch.Floats(rows * p.depth),
                          p.depth,
                          scratch.Ints(rows)};
    const int32_t* order = DescendAll(walk, args.shape, scratch);
    int32_t* sorted = scratch.Ints(rows);
    const int32_t first = LevelBegin(p.depth);
    SortRows(walk.node, first, p.leaves(), order, rows, workspace, sorted);
    if (args.routes.leaves != nullptr) {
      for (int64_t i = 0; i < rows; ++i) {
        args.routes.leaves[r + i] = walk.node[i] - first;
      }
    }
    if (args.routes.margins != nullptr) {
      std::copy(walk.z, walk.z + rows * p.depth,
                args.routes.margins + r * p.depth);
    }
    for (int64_t i = 0; i < rows;) {
      const int32_t node = walk.node[sorted[i]];
      int64_t j = i + 1;
      while (j < rows && walk.node[sorted[j]] == node) ++j;
      RunLeaf<W>(args, {node - first, r, sorted + i, j - i}, workspace);
      i = j;
    }
  }
}

void LeafGroupedRows(const LeafGroupedArgs& args, int64_t begin, int64_t end,
                     Workspace& workspace) {
  switch (args.layer->problem().precision) {
    case Precision::kBf16:
      return GroupedRows<Bf16>(args, begin, end, workspace);
    case Precision::kInt8:
      return GroupedRows<int8_t>(args, begin, end, workspace);
    default:
      return GroupedRows<float>(args, begin, end, workspace);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fff::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fff::engine {

HWY_EXPORT(LeafGroupedRows);

namespace {

// Where all leaves fit in L2 together, rows are taken in chunks that fit beside
// them; else the more rows the better, because more of them share a leaf.
int64_t ChunkRows(const LeafProblem& p) {
  const int64_t weights =
      p.leaves() * p.leaf_width * (p.input_width + p.output_width) +
      p.nodes() * p.input_width;
  if (weights * BytesAWeight(p.precision) > (512 << 10)) return 16384;
  return std::max<int64_t>(64, (384 << 10) / (4 * p.input_width));
}

class LeafGroupedKernel : public Kernel {
 public:
  explicit LeafGroupedKernel(std::shared_ptr<const LeafWeights> weights)
      : layer_(std::move(weights)),
        shape_(ShapeFor(layer_.problem().input_width,
                        BytesAWeight(layer_.problem().precision),
                        base::L1DataBytes())) {}

  absl::string_view name() const override { return "leaf_grouped"; }
  std::vector<PackedCopy> packed() const override {
    return {{this, layer_.packed_bytes()}};
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink& routes,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const LeafProblem& p = layer_.problem();
    const LeafGroupedArgs args = {&layer_, shape_, ChunkRows(p), x, y, routes};
    context.ParallelFor(x.rows, 16,
                        [&](int64_t begin, int64_t end, int thread) {
                          HWY_DYNAMIC_DISPATCH(LeafGroupedRows)
                          (args, begin, end, context.workspace(thread));
                        });
  }

 private:
  PackedLeaf layer_;
  BatchShape shape_;
};

bool Supports(const LeafProblem&) { return true; }

// us per row on one Zen 5 thread at 1, 4, 16, 64, 2048 rows (leaf_walk beside):
//   784->(8)->10, depth 4      0.59 0.36 0.32 0.23 0.20 (0.54 0.53 0.54 0.55)
//   256->(32)->256, depth 6    0.81 at 4, 0.60 at 64, 0.30 at 512 rows (0.98)
//   768->(32)->768, depth 12   8.0 at 256 rows, as leaf_walk: memory-bound
double Cost(const LeafProblem& p, int64_t rows) {
  const auto n = static_cast<double>(rows);
  const double descent = 4.0 * static_cast<double>(p.depth * p.input_width) *
                         (rows < 4 ? 1.45e-5 : 0.9e-5);
  const double rows_a_leaf = n / static_cast<double>(p.leaves());
  double us_a_byte = LeavesInCache(p) ? 1.4e-5 : 3.3e-5;
  if (rows_a_leaf >= 2) us_a_byte = 0.55e-5;
  const double leaf =
      4.0 *
      static_cast<double>(p.leaf_width * (p.input_width + p.output_width)) *
      us_a_byte;
  return 0.1 + n * (descent + leaf);
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const LeafWeights> weights) {
  return std::make_unique<LeafGroupedKernel>(std::move(weights));
}

}  // namespace

LeafKernelEntry LeafGrouped() {
  return {"leaf_grouped", false, Supports,
          Cost,           Make,  {/*own_order_of_sums=*/true}};
}

}  // namespace fff::engine
#endif  // HWY_ONCE

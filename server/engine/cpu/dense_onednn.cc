// dense_onednn: y = act(x.W^T + b) by oneDNN's matmul, weights packed once.
//
//   x [rows, I], W [O, I], b [O] -> y [rows, O]
//
// 1. At construction W is reordered into the blocked layout that oneDNN picks
//    for a batch of 64 rows (onednn_rows.h); bias and activation are fused. W
//    itself may go then.
// 2. A batch is cut into pieces of 512 rows and one rest, and the rest is
//    padded up to the next size that has a primitive: exact up to 16 rows,
//    then steps of 4 to 64, of 16 to 512 (at most 15 rows, 6 % on average).
// 3. A primitive is built when its size is first met (0.05 to 0.5 ms) and kept:
//    at most 56 for each number of threads, none on a warm path. Batches with
//    NaN have as many more, whose sums are activated behind them.
//
// oneDNN splits the work over its own OpenMP team of context.threads() threads.
// A row takes 2 I O FLOPs; a batch reads 4 I O bytes of weights once.
// This is the baseline of every benchmark case. One thread of a Zen 5, times in
// us, oneDNN 2.6.3 (ip: inner_product), K -> N at M rows:
//
//   alternative              768->4095  768->4095  768->4095  4095->768
//   784->128
//                            M=1        M=16       M=2048     M=256      M=2048
//   matmul, packed (this)    128        442        56,400     6,900      1,699
//   ip, packed               125        440        57,900     7,200      1,701
//   matmul, plain W^T        337        731        76,000     7,070      1,747
//   matmul, any M (runtime)  143        496        56,900     6,790      1,751
//   ip, plain W              149        805        57,200     9,400      1,847
//   OpenBLAS 0.3.21          135        1,379      109,270    13,880     3,551
//
// Pieces cost nothing: 4,096 rows 768->4095 take 117 ms in pieces of 512, 118
// through one primitive of 4,096 rows, 115 with a run-time M.
// One primitive with a run-time M would save the table, but costs 12 % at 16
// rows. Exact primitives for every row count would build one on each new size.
#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/engine/cpu/onednn_rows.h"
#include "server/engine/kernel_entry.h"
#include "server/engine/kernel_list.h"
#include "server/graph/row_ops.h"
#include "server/tensor/matrix.h"

namespace fff::engine {
namespace {

using dnnl::memory;

constexpr int64_t kPieceRows = 512;
constexpr int kSizes = 16 + 12 + 28;

// The least size with a primitive that holds `rows` (1 .. 512), and its index.
struct Size {
  int index;
  int64_t rows;
};
Size SizeFor(int64_t rows) {
  if (rows <= 16) return {static_cast<int>(rows) - 1, rows};
  if (rows <= 64) {
    const int64_t step = (rows - 16 + 3) / 4;
    return {static_cast<int>(15 + step), 16 + 4 * step};
  }
  const int64_t step = (rows - 64 + 15) / 16;
  return {static_cast<int>(27 + step), 64 + 16 * step};
}

// One oneDNN primitive of fixed rows and threads.
struct Product {
  dnnl::matmul primitive;
  memory::desc x;
  memory::desc y;
  int64_t scratch_floats;
};

// The products of one number of threads, built as sizes are met: activated, and
// plain sums for batches that hold NaN. Reading is lock-free; building takes
// the mutex.
struct Table {
  std::array<std::atomic<const Product*>, 2 * kSizes> built{};
  absl::Mutex mutex;
  std::array<std::unique_ptr<const Product>, 2 * kSizes> owned
      ABSL_GUARDED_BY(mutex);
};

class DenseOnednnKernel : public Kernel {
 public:
  // Throws dnnl::error; the plan catches it.
  explicit DenseOnednnKernel(const DenseWeights& weights)
      : problem_(weights.problem),
        bias_(weights.bias),
        engine_(dnnl::engine::kind::cpu, 0),
        packed_(OnednnRows::Of(weights)) {
    UseThreads(1);
    fallbacks_ = {Build(1, true), Build(1, false)};
    auto activation = std::make_shared<graph::ActivationWeights>();
    activation->problem = {problem_.output_width, problem_.output_width,
                           problem_.activation};
    activate_ =
        KernelsOf<graph::Activate>().front().make(std::move(activation));
  }

  absl::string_view name() const override { return "dense_onednn"; }
  bool reads_plain_rows() const override { return false; }
  std::vector<PackedCopy> packed() const override {
    return {{packed_.get(), packed_->bytes()}};
  }

  void RunOn(KernelInputs in, tensor::MutableRows y, const RouteSink&,
             ExecutionContext& context) const override {
    const tensor::ConstRows x = in[0].floats();
    const bool fused = !LosesNan(x, context);
    UseThreads(context.threads());
    dnnl::stream stream(engine_);
    for (int64_t r = 0; r < x.rows; r += kPieceRows) {
      const Piece piece = {std::min(kPieceRows, x.rows - r), x.row(r), y.row(r),
                           fused};
      RunPiece(piece, context, stream);
    }
    if (!fused) activate_->Run({y.data, y.rows, y.width}, y, {}, context);
  }

 private:
  static constexpr int kThreadsMax = 64;  // more share the last table

  struct Piece {
    int64_t rows;
    const float* x;
    float* y;
    bool fused;  // with the activation
  };

  // oneDNN's activations make a number of NaN (ReLU: 0); activate_rows does
  // not.
  bool LosesNan(const tensor::ConstRows& x,
                const ExecutionContext& context) const {
    return !context.finite_input() &&
           problem_.activation != Activation::kIdentity &&
           tensor::FindNonFinite(
               {x.data, static_cast<size_t>(x.rows * x.width)}) >= 0;
  }

  std::unique_ptr<const Product> Build(int64_t rows, bool fused) const {
    const dnnl::matmul::primitive_desc desc = DescribeProduct(
        problem_, rows, packed_->desc(),
        Fused(fused ? problem_.activation : Activation::kIdentity), engine_);
    return std::make_unique<const Product>(
        Product{dnnl::matmul(desc), desc.src_desc(), desc.dst_desc(),
                FloatsOf(desc.scratchpad_desc())});
  }

  // The product for a size, built on first use. Null when it cannot be built.
  const Product* Find(const Size& size, bool fused, int threads) const {
    Table& table = tables_[static_cast<size_t>(std::min(threads, kThreadsMax))];
    const auto index =
        static_cast<size_t>(fused ? size.index : kSizes + size.index);
    const Product* found = table.built[index].load(std::memory_order_acquire);
    if (found != nullptr) return found;
    absl::MutexLock lock(&table.mutex);
    if (table.owned[index] == nullptr) {
      try {
        table.owned[index] = Build(size.rows, fused);
      } catch (const std::exception&) {
        return nullptr;  // out of memory: the caller has another way
      }
      table.built[index].store(table.owned[index].get(),
                               std::memory_order_release);
    }
    return table.owned[index].get();
  }

  void RunPiece(const Piece& piece, ExecutionContext& context,
                dnnl::stream& stream) const {
    const DenseProblem& p = problem_;
    const int64_t rows = piece.rows;
    const Size size = SizeFor(rows);
    const Product* product = Find(size, piece.fused, context.threads());
    if (product == nullptr) {
      for (int64_t r = 0; r < rows; ++r) {
        Execute(*fallbacks_[piece.fused ? 0 : 1], piece.x + r * p.input_width,
                piece.y + r * p.output_width, context, stream);
      }
    } else if (size.rows == rows) {
      Execute(*product, piece.x, piece.y, context, stream);
    } else {
      ScratchScope scratch(context.workspace(0));
      float* in = scratch.Floats(size.rows * p.input_width);
      float* out = scratch.Floats(size.rows * p.output_width);
      std::copy_n(piece.x, rows * p.input_width, in);
      std::fill(in + rows * p.input_width, in + size.rows * p.input_width,
                0.0f);
      Execute(*product, in, out, context, stream);
      std::copy_n(out, rows * p.output_width, piece.y);
    }
  }

  void Execute(const Product& product, const float* x, float* y,
               ExecutionContext& context, dnnl::stream& stream) const {
    const DenseProblem& p = problem_;
    ScratchScope scratch(context.workspace(0));
    PrimitiveArguments arguments;
    arguments.Add(DNNL_ARG_SRC, MemoryOf(product.x, engine_, x));
    arguments.Add(DNNL_ARG_WEIGHTS,
                  MemoryOf(packed_->desc(), engine_, packed_->data()));
    arguments.Add(DNNL_ARG_DST, MemoryOf(product.y, engine_, y));
    if (p.has_bias) {
      arguments.Add(DNNL_ARG_BIAS, MemoryOf(RowMajor(1, p.output_width),
                                            engine_, bias_.data()));
    }
    arguments.AddScratch(product.scratch_floats, engine_, scratch);
    arguments.Execute(product.primitive, stream);
  }

  DenseProblem problem_;
  tensor::FloatArray bias_;
  dnnl::engine engine_;
  std::shared_ptr<const OnednnRows> packed_;
  // One row, one thread; activated and not.
  std::array<std::unique_ptr<const Product>, 2> fallbacks_;
  std::unique_ptr<const Kernel> activate_;
  mutable std::array<Table, kThreadsMax + 1> tables_;
};

bool Supports(const DenseProblem& p) {
  return p.input_width >= 1 && p.output_width >= 1 && Fuses(p.activation);
}

// us on one Zen 5 thread: 1.2 a call, then weights streamed (from L2, or at 100
// GB/s from L3) or 210 GFLOP/s, whichever takes longer. Figures in
// dense_dot.cc.
double Cost(const DenseProblem& p, int64_t rows) {
  const double macs =
      static_cast<double>(p.input_width) * static_cast<double>(p.output_width);
  const double stream = macs > 256e3 ? 4.1e-5 : 3.3e-5;
  return 1.2 + macs * std::max(stream, 0.95e-5 * static_cast<double>(rows));
}

std::unique_ptr<Kernel> Make(std::shared_ptr<const DenseWeights> weights) {
  return std::make_unique<DenseOnednnKernel>(*weights);
}

}  // namespace

DenseKernelEntry DenseOnednn() {
  return {"dense_onednn", false, Supports,
          Cost,           Make,  {/*own_order_of_sums=*/true}};
}

}  // namespace fff::engine

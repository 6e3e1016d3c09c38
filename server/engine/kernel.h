#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/engine/execution_context.h"
#include "server/tensor/float_array.h"
#include "server/tensor/typed_rows.h"

namespace fff::engine {

// Where a kernel reports the way each row took. Both arrays are optional
// (null) and owned by the caller. A row here is one of the kernel: for an op on
// the tokens of a sequence, one token.
struct RouteSink {
  // [rows, trees] (leaf family: trees = 1). Position on the tree's bottom
  // level, 0 = leftmost: the leaf index (leaf family) or the last visited node
  // minus (2^(levels-1) - 1) (path family). All ancestors follow from it.
  int32_t* leaves = nullptr;
  // [rows, trees, decisions]: the z of every visited node, root first;
  // decisions = depth (leaf family) or levels (path family).
  float* margins = nullptr;
};

// How much a batch holds: rows, and the tokens of all rows where these are
// sequences of any length, else as many as rows.
struct Extent {
  int64_t rows = 0;
  int64_t tokens = 0;

  Extent() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): rows that are no sequences.
  Extent(int64_t count) : rows(count), tokens(count) {}
  Extent(int64_t row_count, int64_t token_count)
      : rows(row_count), tokens(token_count) {}
  int64_t Of(bool per_token) const { return per_token ? tokens : rows; }
};

// Where each sequence of a batch lies: row r has the tokens [Begin(r),
// Begin(r + 1)), counted from the batch's first. Empty where rows are no
// sequences of any length. A view.
class Sequences {
 public:
  Sequences() = default;
  // One number per row and one behind the last; only their differences count:
  // every row has at least one token.
  explicit Sequences(absl::Span<const int64_t> starts) : starts_(starts) {}

  bool empty() const { return starts_.empty(); }
  int64_t rows() const {
    return empty() ? 0 : static_cast<int64_t>(starts_.size()) - 1;
  }
  int64_t tokens() const { return empty() ? 0 : Begin(rows()); }
  int64_t Begin(int64_t row) const {
    return starts_[static_cast<size_t>(row)] - starts_[0];
  }
  int64_t Length(int64_t row) const { return Begin(row + 1) - Begin(row); }
  // Rows [first, first + count).
  Sequences Slice(int64_t first, int64_t count) const {
    return Sequences(starts_.subspan(static_cast<size_t>(first),
                                     static_cast<size_t>(count) + 1));
  }

 private:
  absl::Span<const int64_t> starts_;
};

// What a kernel reads: one matrix per input of its op, in their order, each
// with a row per row of the kernel. A mask that is absent has no data. A view.
class KernelInputs {
 public:
  KernelInputs() = default;
  explicit KernelInputs(absl::Span<const tensor::TypedRows> matrices,
                        Sequences sequences = {})
      : matrices_(matrices), sequences_(sequences) {}

  const tensor::TypedRows& operator[](size_t i) const { return matrices_[i]; }
  size_t size() const { return matrices_.size(); }
  const Sequences& sequences() const { return sequences_; }

 private:
  absl::Span<const tensor::TypedRows> matrices_;
  Sequences sequences_;
};

// Memory of one copy of weights.
struct PackedCopy {
  const void* copy;
  int64_t bytes;
};

// One algorithm bound to one set of weights. Immutable after construction;
// Run may be called from many threads at once, each with its own context.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // Algorithm name as in the kernel list, e.g. "path_walk".
  virtual absl::string_view name() const = 0;
  // What this kernel holds beyond the weights it was given. Kernels that share
  // a copy name the same one.
  virtual std::vector<PackedCopy> packed() const { return {}; }
  // Whether it reads the op's weights in the order of checkpoints, and so holds
  // them. False: they may go once it is made.
  virtual bool reads_plain_rows() const { return true; }
  // Computes y [rows, output_width] from the op's inputs, in its order, each
  // [rows, its width]. For an op on the tokens of sequences, a row is a token.
  // An op that makes one vector per sequence has as many rows of y as there are
  // sequences. y overlaps no input, but that of a graph::MayOverwrite op may be
  // the first. rows may be 0. Every element of y and of the sink is written. A
  // row's result does not depend on the other rows beyond rounding, its route
  // not at all.
  virtual void RunOn(KernelInputs in, tensor::MutableRows y,
                     const RouteSink& routes,
                     ExecutionContext& context) const = 0;
  // The same for an op of one float32 input.
  void Run(tensor::ConstRows x, tensor::MutableRows y, const RouteSink& routes,
           ExecutionContext& context) const {
    const tensor::TypedRows in = x;
    RunOn(KernelInputs({&in, 1}), y, routes, context);
  }
};

}  // namespace fff::engine

#pragma once

#include <cstdint>
#include <vector>

#include "server/model/model.h"
#include "server/model/sample_rows.h"

namespace fff::benchmark {

// Random rows that fit so much memory: small enough to leave a 32 MiB last
// cache to the weights, large enough that 768-wide rows, or the tokens of
// sequences, end in most of 2048 leaves.
inline constexpr int64_t kPoolBytes = int64_t{8} << 20;
inline constexpr int64_t kPoolRows = 2048;

// Rows that somebody has: of each input of a network one matrix, as kernels
// read it, without data where an optional input is not there.
struct OwnRows {
  std::vector<tensor::TypedRows> inputs;
  int64_t rows = 0;    // 0: none
  int64_t tokens = 1;  // of each row, where rows are sequences of any length
};

// Input rows (model::SampleRows) that calls of one batch size cycle through:
// one call takes `batch_rows` rows in a row, the next call the following ones.
// Random rows are at least batch_rows, and as many as fit kPoolBytes up to
// kPoolRows, so that small batches touch many leaves as well. Random sequences
// have model::SampleTokens tokens. Immutable after construction.
class InputRows {
 public:
  // Of a network's inputs.
  InputRows(int64_t batch_rows, const graph::Graph& graph, uint64_t seed);
  // Copies of the rows, at least batch_rows; those that fill no batch are left
  // out.
  InputRows(int64_t batch_rows, const graph::Graph& graph, const OwnRows& own);
  // Of one float32 input.
  InputRows(int64_t batch_rows, int64_t width, uint64_t seed);

  int64_t batches() const { return rows_.batches(); }
  int64_t rows() const { return batches() * extent().rows; }
  engine::Extent extent() const { return rows_.extent(); }  // of one batch
  // Batch index % batches().
  engine::KernelInputs inputs(int64_t index) const {
    return rows_.batch(index);
  }
  // The same of one float32 input.
  tensor::ConstRows batch(int64_t index) const {
    return inputs(index)[0].floats();
  }

 private:
  InputRows(absl::Span<const graph::Port> ports, int64_t batch_rows,
            int64_t tokens, uint64_t seed);

  model::SampleRows rows_;
};

}  // namespace fff::benchmark

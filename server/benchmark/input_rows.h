#pragma once

#include <cstdint>

#include "server/model/model.h"
#include "server/model/sample_rows.h"

namespace fff::benchmark {

// Random input rows (model::SampleRows) that calls of one batch size cycle
// through: one call takes `batch_rows` rows in a row, the next call the
// following ones. There are at least batch_rows rows, and as many as fit 8 MiB
// up to 2048, so that small batches touch many leaves as well. Sequences have
// model::SampleTokens tokens. Immutable after construction.
class InputRows {
 public:
  // Of a network's inputs.
  InputRows(int64_t batch_rows, const graph::Graph& graph, uint64_t seed);
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

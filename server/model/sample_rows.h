#pragma once

#include <cstdint>
#include <vector>

#include "server/engine/executable.h"
#include "server/graph/graph.h"
#include "server/tensor/float_array.h"

namespace fff::model {

// Tokens of a sequence that nobody sent: kNominalTokens, or the longest that
// the network takes; 1 where rows are no sequences of any length.
int64_t SampleTokens(const graph::Graph& graph);

// Rows for a network that nobody sent: to warm it up, to measure, to compare.
// Inputs of several batches of one size; masks are absent. Views stay valid
// while this lives unmoved.
class SampleRows {
 public:
  struct Size {
    int64_t rows = 1;    // of a batch
    int64_t tokens = 1;  // of a row, where rows are sequences of any length
    int64_t batches = 1;
  };
  // Zeros.
  SampleRows(absl::Span<const graph::Port> ports, const Size& size);
  SampleRows(const SampleRows&) = delete;
  SampleRows& operator=(const SampleRows&) = delete;

  // Standard-normal floats, pixels and integers evenly over all there are.
  void FillRandom(uint64_t seed);

  engine::Extent extent() const {
    return {size_.rows, size_.rows * size_.tokens};
  }
  int64_t batches() const { return size_.batches; }
  // Batch index % batches().
  engine::KernelInputs batch(int64_t index) const;
  // Of one input, of all batches: floats, or int32 in their place.
  absl::Span<float> values(size_t input = 0) { return values_[input].span(); }
  // The input is there, although it is optional.
  void Include(size_t input);

 private:
  std::vector<graph::Port> ports_;
  Size size_;
  std::vector<tensor::FloatBuffer> values_;  // one per input, of all batches
  std::vector<tensor::TypedRows> matrices_;  // one per batch and input
  std::vector<int64_t> starts_;              // of a batch's sequences
};

// Room for the outputs of one batch: of each as many rows as the batch has, or
// as it has tokens. May be moved; views stay valid.
class SampleOutputs {
 public:
  SampleOutputs(absl::Span<const graph::Port> ports,
                const engine::Extent& extent);
  size_t size() const { return rows_.size(); }
  // By output, as engine::Batch::outputs.
  absl::Span<const tensor::MutableRows> rows() { return rows_; }
  tensor::MutableRows rows(size_t output) { return rows_[output]; }
  tensor::ConstRows rows(size_t output) const {
    const tensor::MutableRows& rows = rows_[output];
    return {rows.data, rows.rows, rows.width};
  }

 private:
  std::vector<tensor::FloatBuffer> values_;
  std::vector<tensor::MutableRows> rows_;
};

}  // namespace fff::model

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/tensor/float_array.h"

namespace fff::benchmark {

// Standard-normal input rows that calls of one batch size cycle through: one
// call takes `batch_rows` rows in a row, the next call the following ones.
// There are at least batch_rows rows, and as many as fit 8 MiB up to 2048, so
// that small batches touch many leaves as well. Immutable after construction.
class InputRows {
 public:
  InputRows(int64_t batch_rows, int64_t width, uint64_t seed);

  int64_t batches() const { return batches_; }
  int64_t rows() const { return batches_ * batch_rows_; }
  // Batch index % batches().
  tensor::ConstRows batch(int64_t index) const;
  tensor::ConstRows all() const;

 private:
  int64_t batch_rows_;
  int64_t width_;
  int64_t batches_;
  tensor::FloatBuffer values_;
};

}  // namespace fff::benchmark

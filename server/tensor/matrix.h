#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "server/tensor/float_array.h"

namespace fff::tensor {

// [columns, rows] from row-major [rows, columns], written to `to`, which holds
// as many floats with `to_stride` floats from row to row of the result
// (to_stride >= rows).
void TransposeInto(absl::Span<const float> from, int64_t rows, int64_t columns,
                   float* to, int64_t to_stride);

// The same as an array of its own without gaps.
FloatArray Transposed(absl::Span<const float> from, int64_t rows,
                      int64_t columns);

// Index of the first value that is NaN or infinite; -1 when all are finite.
int64_t FindNonFinite(absl::Span<const float> values);

}  // namespace fff::tensor

#pragma once

#include <cstdint>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/graph/problem.h"
#include "server/tensor/float_array.h"

namespace fff::graph {

// The upper half of a float.
struct Bf16 {
  uint16_t bits;
};
// Rounds to nearest, ties to even; what is beyond the range becomes infinity,
// NaN stays NaN.
Bf16 ToBf16(float value);
inline float ToFloat(Bf16 value) {
  const uint32_t bits = uint32_t{value.bits} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// A weight matrix in fewer bytes, each row a neuron's.
//   bf16: every value rounded to nearest even.
//   int8: row r is scale[r] * q, q whole and |q| <= 127, symmetric: scale is
//   max |w| / 127 rounded up to 16 significant bits, so that scale * q is an
//   exact float, and q = w / scale rounded to nearest even.
// Rows begin at multiples of `stride` elements with zeros between, and the
// memory goes on far enough for a whole vector to be read at any element.
// Immutable, cheap to copy (copies share the storage), thread-safe.
class ReducedMatrix {
 public:
  ReducedMatrix() = default;
  // `values` is [rows, width]; precision is kBf16 or kInt8. INVALID_ARGUMENT
  // (the message has row, column and value) for a value that is not finite, or
  // is not once it is rounded.
  static absl::StatusOr<ReducedMatrix> Of(absl::Span<const float> values,
                                          int64_t width, Precision precision);

  bool empty() const { return rows_ == 0; }
  int64_t rows() const { return rows_; }
  int64_t stride() const { return stride_; }
  int64_t bytes() const { return 4 * (storage_.size() + scale_.size()); }
  // T is Bf16 or int8_t, as the matrix was made.
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(storage_.data());
  }
  // [rows] for int8, null for bf16.
  const float* scale() const { return scale_.data(); }
  // What is stored, exactly: [rows, width].
  tensor::FloatArray Widened() const;

 private:
  int64_t rows_ = 0;
  int64_t width_ = 0;
  int64_t stride_ = 0;
  tensor::FloatArray storage_;  // memory alone; its floats mean nothing
  tensor::FloatArray scale_;
};

}  // namespace fff::graph

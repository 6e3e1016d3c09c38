#pragma once

#include <cstdint>

#include "server/tensor/data_type.h"
#include "server/tensor/float_array.h"

namespace fff::tensor {

// A row-major matrix of any element type that somebody else owns: `rows` rows
// of `width` elements without gaps. What travels from the wire to the kernels.
struct TypedRows {
  DataType type = DataType::kF32;
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t width = 0;

  TypedRows() = default;
  TypedRows(DataType element, const void* first, int64_t count, int64_t columns)
      : type(element), data(first), rows(count), width(columns) {}
  // NOLINTNEXTLINE(google-explicit-constructor): float rows are typed rows.
  TypedRows(const ConstRows& x)
      : TypedRows(DataType::kF32, x.data, x.rows, x.width) {}

  // The rows as floats; type must be kF32.
  ConstRows floats() const {
    return {static_cast<const float*>(data), rows, width};
  }
  int64_t row_bytes() const {
    return width * static_cast<int64_t>(ByteWidth(type));
  }
  // Rows [first, first + count); of no data, none.
  TypedRows Slice(int64_t first, int64_t count) const {
    if (data == nullptr) return {type, nullptr, count, width};
    return {type, static_cast<const char*>(data) + first * row_bytes(), count,
            width};
  }
};

}  // namespace fff::tensor

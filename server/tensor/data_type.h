#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace fff::tensor {

// Element types that a checkpoint or a request may name.
enum class DataType : uint8_t {
  kBool,
  kU8,
  kI8,
  kI16,
  kI32,
  kI64,
  kF16,
  kBF16,
  kF32,
  kF64,
};

// Bytes of one element, 1 to 8.
size_t ByteWidth(DataType type);

// The name messages use: "F32", "BF16", ...
absl::string_view Name(DataType type);

// IEEE binary16 and bfloat16 bit patterns to float, exact (NaN payloads kept).
float HalfToFloat(uint16_t bits);
float BFloat16ToFloat(uint16_t bits);

}  // namespace fff::tensor

#include "server/tensor/data_type.h"

#include <cmath>
#include <cstring>

namespace fff::tensor {
namespace {

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace

size_t ByteWidth(DataType type) {
  switch (type) {
    case DataType::kBool:
    case DataType::kU8:
    case DataType::kI8:
      return 1;
    case DataType::kI16:
    case DataType::kF16:
    case DataType::kBF16:
      return 2;
    case DataType::kI32:
    case DataType::kF32:
      return 4;
    case DataType::kI64:
    case DataType::kF64:
      return 8;
  }
  return 1;
}

absl::string_view Name(DataType type) {
  switch (type) {
    case DataType::kBool:
      return "BOOL";
    case DataType::kU8:
      return "U8";
    case DataType::kI8:
      return "I8";
    case DataType::kI16:
      return "I16";
    case DataType::kI32:
      return "I32";
    case DataType::kI64:
      return "I64";
    case DataType::kF16:
      return "F16";
    case DataType::kBF16:
      return "BF16";
    case DataType::kF32:
      return "F32";
    case DataType::kF64:
      return "F64";
  }
  return "?";
}

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24 is exact in float
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  if (exponent == 31) return FromBits(sign | 0x7f800000u | (mantissa << 13));
  return FromBits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

float BFloat16ToFloat(uint16_t bits) {
  return FromBits(static_cast<uint32_t>(bits) << 16);
}

}  // namespace fff::tensor

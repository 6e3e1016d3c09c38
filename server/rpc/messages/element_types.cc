#include "server/rpc/messages/element_types.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/tensor/matrix.h"

namespace fff::rpc {
namespace {

using tensor::DataType;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "tensors travel little-endian and are used in place");

// The top bit is set when the exponent bits are all ones: infinity or NaN.
uint32_t ExponentCarry(const float& value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & 0x7fffffffu) + 0x00800000u;
}

template <class T>
absl::Status Refused(const graph::Port& port, T value, int64_t at,
                     int64_t width, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("input '", port.name, "': got ", value, " at row ",
                   at / width, ", element ", at % width, ", wanted ", wanted));
}

// Element i of `bytes`, which may not be aligned.
template <class T>
T ElementAt(absl::string_view bytes, int64_t i) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<size_t>(i) * sizeof(T),
              sizeof(T));
  return value;
}

template <class T, class ToFloat>
void Convert(absl::string_view bytes, int64_t count, const ToFloat& to_float,
             float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = to_float(ElementAt<T>(bytes, i));
}

void ConvertToFloat(DataType type, absl::string_view bytes, int64_t count,
                    float* to) {
  switch (type) {
    case DataType::kF16:
      return Convert<uint16_t>(bytes, count, tensor::HalfToFloat, to);
    case DataType::kBF16:
      return Convert<uint16_t>(bytes, count, tensor::BFloat16ToFloat, to);
    case DataType::kF64:
      return Convert<double>(
          bytes, count, [](double v) { return static_cast<float>(v); }, to);
    case DataType::kU8:
      return Convert<uint8_t>(
          bytes, count, [](uint8_t v) { return static_cast<float>(v); }, to);
    default:
      FFF_CHECK(type == DataType::kF32);
      std::memcpy(to, bytes.data(), bytes.size());
  }
}

// That no finite one of `count` doubles became infinite in `floats`.
absl::Status CheckRange(const graph::Port& port, absl::string_view bytes,
                        const float* floats, int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isinf(floats[i])) continue;
    const auto value = ElementAt<double>(bytes, i);
    if (std::isfinite(value)) {
      return Refused(port, value, i, width, "values within the range of FP32");
    }
  }
  return absl::OkStatus();
}

// Every integer in [low, high], as int32 to `to` unless that is null.
template <class T>
absl::Status TakeIntegers(const graph::Port& port, absl::string_view bytes,
                          int64_t count, int64_t width, int32_t* to) {
  constexpr int64_t kLow = std::numeric_limits<int32_t>::min();
  constexpr int64_t kHigh = std::numeric_limits<int32_t>::max();
  const int64_t low = port.limit > 0 ? 0 : kLow;
  const int64_t high = port.limit > 0 ? port.limit - 1 : kHigh;
  for (int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<int64_t>(ElementAt<T>(bytes, i));
    if (value < low || value > high) {
      return Refused(port, value, i, width, absl::StrCat(low, " to ", high));
    }
    if (to != nullptr) to[i] = static_cast<int32_t>(value);
  }
  return absl::OkStatus();
}

bool Aligned(absl::string_view bytes) {
  return reinterpret_cast<uintptr_t>(bytes.data()) % alignof(float) == 0;
}

absl::StatusOr<tensor::TypedRows> DecodeFloats(const graph::Port& port,
                                               DataType type,
                                               absl::string_view bytes,
                                               int64_t rows, int64_t width,
                                               tensor::FloatBuffer& scratch) {
  const float* data = reinterpret_cast<const float*>(bytes.data());
  if (type != DataType::kF32 || !Aligned(bytes)) {
    scratch = tensor::FloatBuffer(rows * width);
    ConvertToFloat(type, bytes, rows * width, scratch.data());
    data = scratch.data();
  }
  if (type == DataType::kF64) {
    FFF_RETURN_IF_ERROR(CheckRange(port, bytes, data, rows * width, width));
  }
  return tensor::ConstRows{data, rows, width};
}

absl::StatusOr<tensor::TypedRows> DecodeIntegers(const graph::Port& port,
                                                 DataType type,
                                                 absl::string_view bytes,
                                                 int64_t rows, int64_t width,
                                                 tensor::FloatBuffer& scratch) {
  const void* data = bytes.data();
  int32_t* to = nullptr;
  if (type != DataType::kI32 || !Aligned(bytes)) {
    scratch = tensor::FloatBuffer(rows * width);
    to = reinterpret_cast<int32_t*>(scratch.data());
    data = to;
  }
  const int64_t count = rows * width;
  const absl::Status taken =
      type == DataType::kI64
          ? TakeIntegers<int64_t>(port, bytes, count, width, to)
      : type == DataType::kI32
          ? TakeIntegers<int32_t>(port, bytes, count, width, to)
          : TakeIntegers<uint8_t>(port, bytes, count, width, to);
  if (!taken.ok()) return taken;
  return tensor::TypedRows(DataType::kI32, data, rows, width);
}

}  // namespace

// Integer arithmetic without branches, in sums that do not wait for each other,
// so that the compiler vectorises it: 784 values take 40 ns, 92 ns with one sum
// and a comparison, which showed in the CPU time of a request.
bool AllFinite(absl::Span<const float> values) {
  constexpr size_t kSums = 16;
  uint32_t carries[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= values.size(); i += kSums) {
    for (size_t k = 0; k < kSums; ++k)
      carries[k] |= ExponentCarry(values[i + k]);
  }
  uint32_t carry = 0;
  for (const uint32_t sum : carries) carry |= sum;
  for (; i < values.size(); ++i) carry |= ExponentCarry(values[i]);
  return carry >> 31 == 0;
}

int64_t NonFiniteRows(const tensor::ConstRows& rows) {
  int64_t found = 0;
  for (int64_t r = 0; r < rows.rows; ++r) {
    found += AllFinite({rows.row(r), static_cast<size_t>(rows.width)}) ? 0 : 1;
  }
  return found;
}

absl::Status RefuseNonFinite(const graph::Port& port,
                             const tensor::ConstRows& rows) {
  const int64_t i = tensor::FindNonFinite(
      {rows.data, static_cast<size_t>(rows.rows * rows.width)});
  FFF_CHECK(i >= 0);
  return Refused(port, rows.data[i], i, rows.width, "finite values");
}

absl::StatusOr<tensor::TypedRows> DecodeElements(const graph::Port& port,
                                                 DataType type,
                                                 absl::string_view bytes,
                                                 int64_t rows, int64_t width,
                                                 tensor::FloatBuffer& scratch) {
  return port.type().data_type == DataType::kF32
             ? DecodeFloats(port, type, bytes, rows, width, scratch)
             : DecodeIntegers(port, type, bytes, rows, width, scratch);
}

}  // namespace fff::rpc

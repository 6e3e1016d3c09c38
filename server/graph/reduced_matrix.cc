#include "server/graph/reduced_matrix.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fff::graph {
namespace {

// Elements; a vector of 16 floats never crosses a row's end then.
constexpr int64_t kRowMultiple = 16;
// Elements behind the last row that may be read: the widest vector there is.
constexpr int64_t kSlack = 64;
constexpr int kWholeMax = 127;
constexpr int kScaleBits = 16;
constexpr int kLeastExponent = -149;  // of a subnormal float

// max / 127, rounded up to kScaleBits bits.
float ScaleFor(float largest) {
  if (largest == 0) return 0;
  const double exact = double{largest} / kWholeMax;
  int exponent = 0;
  std::frexp(exact, &exponent);
  const int last_bit = std::max(exponent - kScaleBits, kLeastExponent);
  return static_cast<float>(
      std::ldexp(std::ceil(std::ldexp(exact, -last_bit)), last_bit));
}

int8_t Whole(float value, float scale) {
  if (scale == 0) return 0;
  return static_cast<int8_t>(std::nearbyint(double{value} / double{scale}));
}

template <class T>
T* NewElements(tensor::FloatBuffer& storage, int64_t count) {
  const auto bytes = count * static_cast<int64_t>(sizeof(T));
  storage = tensor::FloatBuffer((bytes + 3) / 4);
  return new (storage.data()) T[static_cast<size_t>(count)]();
}

float Largest(absl::Span<const float> row) {
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  return largest;
}

absl::Status CheckRange(absl::Span<const float> values, int64_t width,
                        Precision precision) {
  for (size_t i = 0; i < values.size(); ++i) {
    const float stored =
        precision == Precision::kBf16 ? ToFloat(ToBf16(values[i])) : values[i];
    if (std::isfinite(stored)) continue;
    const auto at = static_cast<int64_t>(i);
    return absl::InvalidArgumentError(absl::StrCat(
        "row ", at / width, ", column ", at % width, ": found ", values[i],
        ", which has no finite value in ", Name(precision)));
  }
  return absl::OkStatus();
}

}  // namespace

Bf16 ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (std::isnan(value)) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  bits += 0x7fff + ((bits >> 16) & 1);
  return {static_cast<uint16_t>(bits >> 16)};
}

absl::StatusOr<ReducedMatrix> ReducedMatrix::Of(absl::Span<const float> values,
                                                int64_t width,
                                                Precision precision) {
  const absl::Status range = CheckRange(values, width, precision);
  if (!range.ok()) return range;
  ReducedMatrix matrix;
  matrix.width_ = width;
  matrix.rows_ = static_cast<int64_t>(values.size()) / width;
  matrix.stride_ = (width + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  const int64_t count = matrix.rows_ * matrix.stride_ + kSlack;
  tensor::FloatBuffer storage;
  const auto row_of = [&](int64_t r) {
    return values.subspan(static_cast<size_t>(r * width),
                          static_cast<size_t>(width));
  };
  if (precision == Precision::kBf16) {
    Bf16* to = NewElements<Bf16>(storage, count);
    for (int64_t r = 0; r < matrix.rows_; ++r, to += matrix.stride_) {
      const auto row = row_of(r);
      std::transform(row.begin(), row.end(), to, ToBf16);
    }
  } else {
    auto* to = NewElements<int8_t>(storage, count);
    tensor::FloatBuffer scales(matrix.rows_);
    for (int64_t r = 0; r < matrix.rows_; ++r, to += matrix.stride_) {
      const auto row = row_of(r);
      const float scale = ScaleFor(Largest(row));
      scales.data()[r] = scale;
      std::transform(row.begin(), row.end(), to,
                     [scale](float value) { return Whole(value, scale); });
    }
    matrix.scale_ = std::move(scales).Freeze();
  }
  matrix.storage_ = std::move(storage).Freeze();
  return matrix;
}

tensor::FloatArray ReducedMatrix::Widened() const {
  tensor::FloatBuffer floats(rows_ * width_);
  for (int64_t r = 0; r < rows_; ++r) {
    float* to = floats.data() + r * width_;
    for (int64_t i = 0; i < width_; ++i) {
      const int64_t at = r * stride_ + i;
      to[i] = scale_.empty()
                  ? ToFloat(data<Bf16>()[at])
                  : scale_[r] * static_cast<float>(data<int8_t>()[at]);
    }
  }
  return std::move(floats).Freeze();
}

}  // namespace fff::graph

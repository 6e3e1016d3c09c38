#include "server/tensor/matrix.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fff::tensor {
namespace {

// A block of 32 x 32 floats touches 32 cache lines on either side: both fit the
// first-level cache, whatever the strides.
constexpr int64_t kBlock = 32;
constexpr size_t kCheckAtOnce = 4096;
constexpr uint32_t kExponentMask = 0x7f800000;

bool IsNonFinite(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & kExponentMask) == kExponentMask;
}

}  // namespace

void TransposeInto(absl::Span<const float> from, int64_t rows, int64_t columns,
                   float* to, int64_t to_stride) {
  const float* source = from.data();
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    const int64_t r1 = std::min(r0 + kBlock, rows);
    for (int64_t c0 = 0; c0 < columns; c0 += kBlock) {
      const int64_t c1 = std::min(c0 + kBlock, columns);
      for (int64_t c = c0; c < c1; ++c) {
        for (int64_t r = r0; r < r1; ++r) {
          to[c * to_stride + r] = source[r * columns + c];
        }
      }
    }
  }
}

FloatArray Transposed(absl::Span<const float> from, int64_t rows,
                      int64_t columns) {
  FloatBuffer buffer(rows * columns);
  TransposeInto(from, rows, columns, buffer.data(), rows);
  return std::move(buffer).Freeze();
}

int64_t FindNonFinite(absl::Span<const float> values) {
  for (size_t begin = 0; begin < values.size(); begin += kCheckAtOnce) {
    const size_t end = std::min(begin + kCheckAtOnce, values.size());
    // No early exit inside a block, so that the compiler can use vectors.
    uint32_t found = 0;
    for (size_t i = begin; i < end; ++i) {
      found |= static_cast<uint32_t>(IsNonFinite(values[i]));
    }
    if (found == 0) continue;
    const auto at =
        std::find_if(values.begin() + begin, values.end(), IsNonFinite);
    return at - values.begin();
  }
  return -1;
}

}  // namespace fff::tensor

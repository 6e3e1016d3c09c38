#include "server/engine/device/device.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "server/base/status_macros.h"

// A version of a plain loop per instruction set, chosen when the program
// starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FFF_FOR_EVERY_CPU \
  __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FFF_FOR_EVERY_CPU
#endif

namespace fff::engine {
namespace {

// Weights travel in pieces of this size, so that a large layer needs no second
// copy of itself in host memory.
constexpr int64_t kPieceBytes = int64_t{32} << 20;

// To the nearest, ties to even; NaN stays NaN.
// Without a branch, so that a row is rounded with vector instructions.
uint16_t RoundToBf16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t nan = (bits >> 16) | 0x40u;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return static_cast<uint16_t>(is_nan ? nan : rounded);
}

// Rows of a bf16 model pass here on their way in and out.
FFF_FOR_EVERY_CPU
void Narrow(const float* from, int64_t count, uint16_t* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = RoundToBf16(from[i]);
}

FFF_FOR_EVERY_CPU
void Widen(const uint16_t* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = uint32_t{from[i]} << 16;
    std::memcpy(to + i, &bits, sizeof(bits));
  }
}

void FillRow(const HostMatrix& weights, int64_t row, float* to) {
  const float* from = weights.row(row);
  for (int64_t i = 0; i < weights.width; ++i) to[i] = from[i * weights.stride];
}
void FillRow(const HostMatrix& weights, int64_t row, uint16_t* to) {
  const float* from = weights.row(row);
  for (int64_t i = 0; i < weights.width; ++i) {
    to[i] = RoundToBf16(from[i * weights.stride]);
  }
}

template <class T>
absl::Status CopyRows(const HostMatrix& weights, Device& device, T* to) {
  const int64_t pitch = PitchOf(weights.width);
  if (weights.rows * pitch == 0) return absl::OkStatus();
  const auto row_bytes = pitch * static_cast<int64_t>(sizeof(T));
  const int64_t together = std::max<int64_t>(1, kPieceBytes / row_bytes);
  std::vector<T> piece;
  for (int64_t begin = 0; begin < weights.rows; begin += together) {
    const int64_t rows = std::min(together, weights.rows - begin);
    piece.assign(static_cast<size_t>(rows * pitch), T{});
    for (int64_t r = 0; r < rows; ++r) {
      FillRow(weights, begin + r, piece.data() + r * pitch);
    }
    FFF_RETURN_IF_ERROR(
        device.CopyIn(to + begin * pitch, piece.data(), rows * row_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

void NarrowRow(WeightType type, const float* from, int64_t count, void* to) {
  if (type == WeightType::kFp32) {
    std::copy_n(from, count, static_cast<float*>(to));
  } else {
    Narrow(from, count, static_cast<uint16_t*>(to));
  }
}

void WidenRow(WeightType type, const void* from, int64_t count, float* to) {
  if (type == WeightType::kFp32) {
    std::copy_n(static_cast<const float*>(from), count, to);
  } else {
    Widen(static_cast<const uint16_t*>(from), count, to);
  }
}

absl::StatusOr<Buffer> Buffer::Make(Device& device, int64_t bytes) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  FFF_ASSIGN_OR_RETURN(buffer.data_, device.Allocate(bytes));
  buffer.size_ = bytes;
  return buffer;
}

absl::StatusOr<Buffer> Buffer::MakeHost(Device& device, int64_t bytes) {
  Buffer buffer;
  FFF_ASSIGN_OR_RETURN(buffer.data_, device.AllocateHost(bytes));
  buffer.size_ = bytes;
  return buffer;
}

absl::StatusOr<Buffer> Upload(Device& device, WeightType type,
                              const HostMatrix& weights) {
  const int64_t elements = weights.rows * PitchOf(weights.width);
  FFF_ASSIGN_OR_RETURN(Buffer buffer,
                       Buffer::Make(device, elements * BytesOf(type)));
  FFF_RETURN_IF_ERROR(type == WeightType::kFp32
                          ? CopyRows(weights, device, buffer.As<float>())
                          : CopyRows(weights, device, buffer.As<uint16_t>()));
  return buffer;
}

}  // namespace fff::engine

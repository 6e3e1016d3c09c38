#include "server/engine/cuda/device_memory.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::engine::cuda {
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

void FillRow(const WeightRows& weights, int64_t row, float* to) {
  const float* from = weights.row(row);
  for (int64_t i = 0; i < weights.width; ++i) to[i] = from[i * weights.stride];
}
void FillRow(const WeightRows& weights, int64_t row, uint16_t* to) {
  const float* from = weights.row(row);
  for (int64_t i = 0; i < weights.width; ++i) {
    to[i] = RoundToBf16(from[i * weights.stride]);
  }
}

template <class T>
absl::Status CopyRows(const WeightRows& weights, T* to) {
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
        ToStatus(cudaMemcpy(to + begin * pitch, piece.data(),
                            static_cast<size_t>(rows * row_bytes),
                            cudaMemcpyHostToDevice),
                 "copying weights"));
  }
  return absl::OkStatus();
}

}  // namespace

void NarrowRow(WeightType type, const float* from, int64_t count, void* to) {
  if (type == WeightType::kFp32) {
    std::copy_n(from, count, static_cast<float*>(to));
    return;
  }
  auto* const narrow = static_cast<uint16_t*>(to);
  for (int64_t i = 0; i < count; ++i) narrow[i] = RoundToBf16(from[i]);
}

void WidenRow(WeightType type, const void* from, int64_t count, float* to) {
  if (type == WeightType::kFp32) {
    std::copy_n(static_cast<const float*>(from), count, to);
    return;
  }
  const auto* const narrow = static_cast<const uint16_t*>(from);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = uint32_t{narrow[i]} << 16;
    std::memcpy(to + i, &bits, sizeof(bits));
  }
}

absl::Status ToStatus(cudaError_t error, absl::string_view doing) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message =
      absl::StrCat("CUDA: ", doing, ": ", cudaGetErrorName(error), ": ",
                   cudaGetErrorString(error));
  return error == cudaErrorMemoryAllocation
             ? absl::ResourceExhaustedError(message)
             : absl::InternalError(message);
}

absl::StatusOr<bool> IsPrepared(cudaError_t prepared,
                                absl::string_view kernel) {
  if (prepared == cudaErrorInvalidValue) {
    cudaGetLastError();  // no lasting error
    return false;
  }
  FFF_RETURN_IF_ERROR(ToStatus(prepared, kernel));
  return true;
}

UseDevice::UseDevice(int device) {
  cudaGetDevice(&before_);
  cudaSetDevice(device);
}

UseDevice::~UseDevice() { cudaSetDevice(before_); }

absl::StatusOr<DeviceBuffer> DeviceBuffer::Make(int64_t bytes) {
  DeviceBuffer buffer;
  if (bytes == 0) return buffer;
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (error != cudaSuccess) {
    cudaGetLastError();  // a refused allocation is no lasting error
    size_t free = 0;
    size_t total = 0;
    cudaMemGetInfo(&free, &total);
    return ToStatus(
        error, absl::StrCat("allocating ", bytes, " bytes of device memory, ",
                            free, " of ", total, " free"));
  }
  buffer.data_ = std::shared_ptr<void>(data, cudaFree);
  buffer.size_ = bytes;
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaMemset(data, 0, static_cast<size_t>(bytes)), "zeroing"));
  return buffer;
}

absl::StatusOr<PinnedBuffer> PinnedBuffer::Make(int64_t bytes) {
  PinnedBuffer buffer;
  void* data = nullptr;
  const cudaError_t error = cudaMallocHost(&data, static_cast<size_t>(bytes));
  if (error != cudaSuccess) {
    cudaGetLastError();
    return ToStatus(error, absl::StrCat("allocating ", bytes,
                                        " bytes of page-locked memory"));
  }
  std::memset(data, 0, static_cast<size_t>(bytes));
  buffer.data_ = std::shared_ptr<void>(data, cudaFreeHost);
  return buffer;
}

absl::StatusOr<DeviceBuffer> Upload(WeightType type,
                                    const WeightRows& weights) {
  const int64_t elements = weights.rows * PitchOf(weights.width);
  FFF_ASSIGN_OR_RETURN(
      DeviceBuffer buffer,
      DeviceBuffer::Make(elements * (type == WeightType::kFp32 ? 4 : 2)));
  FFF_RETURN_IF_ERROR(type == WeightType::kFp32
                          ? CopyRows(weights, buffer.As<float>())
                          : CopyRows(weights, buffer.As<uint16_t>()));
  return buffer;
}

}  // namespace fff::engine::cuda

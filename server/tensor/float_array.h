#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"

namespace fff::tensor {

inline constexpr size_t kAlignmentBytes =
    64;  // a cache line, an AVX-512 vector

// An immutable float array that keeps its storage alive: either memory of its
// own (64-byte aligned) or a part of something larger, such as a file's bytes.
// Cheap to copy; copies share the storage. Empty by default.
class FloatArray {
 public:
  FloatArray() = default;
  // `values` must stay valid while `owner` lives. No alignment is promised
  // beyond that of float.
  FloatArray(std::shared_ptr<const void> owner, absl::Span<const float> values)
      : owner_(std::move(owner)), values_(values) {}

  // A copy of `values` in fresh aligned memory.
  static FloatArray CopyOf(absl::Span<const float> values);

  const float* data() const { return values_.data(); }
  int64_t size() const { return static_cast<int64_t>(values_.size()); }
  bool empty() const { return values_.empty(); }
  float operator[](int64_t i) const { return values_[static_cast<size_t>(i)]; }
  absl::Span<const float> span() const { return values_; }

 private:
  std::shared_ptr<const void> owner_;
  absl::Span<const float> values_;
};

// A mutable, 64-byte aligned, zero-initialised float buffer of fixed size.
// Sizes of 2 MiB and more ask the kernel for huge pages (madvise).
class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(int64_t size);

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  absl::Span<float> span() { return {data(), static_cast<size_t>(size_)}; }

  // Hands the memory over; this buffer is empty afterwards.
  FloatArray Freeze() &&;

 private:
  std::shared_ptr<float> data_;
  int64_t size_ = 0;
};

// Row-major matrices that somebody else owns. `data` holds rows x width floats
// without gaps between rows.
struct ConstRows {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t width = 0;
  const float* row(int64_t r) const { return data + r * width; }
};
struct MutableRows {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t width = 0;
  float* row(int64_t r) const { return data + r * width; }
};

}  // namespace fff::tensor

#include "server/tensor/float_array.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace fff::tensor {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

std::shared_ptr<float> Allocate(int64_t size) {
  const size_t wanted = static_cast<size_t>(size) * sizeof(float);
  const bool huge = wanted >= kHugePageBytes;
  const size_t alignment = huge ? kHugePageBytes : kAlignmentBytes;
  const size_t bytes = (wanted + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, std::max(bytes, alignment));
  if (memory == nullptr) throw std::bad_alloc();
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);  // advice: may be refused
  std::memset(memory, 0, bytes);
  return {static_cast<float*>(memory), std::free};
}

}  // namespace

FloatArray FloatArray::CopyOf(absl::Span<const float> values) {
  FloatBuffer buffer(static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), buffer.data());
  return std::move(buffer).Freeze();
}

FloatBuffer::FloatBuffer(int64_t size)
    : data_(size > 0 ? Allocate(size) : nullptr), size_(size) {}

FloatArray FloatBuffer::Freeze() && {
  const absl::Span<const float> values = span();
  size_ = 0;
  return FloatArray(std::move(data_), values);
}

}  // namespace fff::tensor

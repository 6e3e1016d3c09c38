#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/tensor/shape.h"

namespace fff::checkpoint {

// A tensor as a view of a flat storage, in elements: element (i0, i1, ...) lies
// at offset + i0 * strides[0] + i1 * strides[1] + ... Two dimensions may share
// elements (stride 0 repeats one).
struct StridedView {
  tensor::Shape shape;
  tensor::Shape strides;
  int64_t offset = 0;
};

// The number of storage elements that the view needs: one more than the highest
// index it touches, 0 for a view of no elements. INVALID_ARGUMENT when shape
// and strides differ in rank, the shape is no valid one (tensor::NumElements),
// a stride or the offset is negative, or an index overflows.
absl::StatusOr<int64_t> StorageExtent(const StridedView& view);

// Whether the elements lie one after the other in row-major order. Wants a view
// that StorageExtent accepted.
bool IsContiguous(const StridedView& view);

// Writes the elements to `to` in row-major order. Wants a view whose extent
// fits `from`; `width` is the bytes of one element, and `to` has room for all.
void CopyStrided(const StridedView& view, size_t width,
                 absl::Span<const std::byte> from, absl::Span<std::byte> to);

}  // namespace fff::checkpoint

#pragma once

#include <cstdint>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fff::tensor {

inline constexpr int kRankMax = 8;
// 2^40 elements: far above any real model, far below int64 overflow when
// multiplied by an element width.
inline constexpr int64_t kElementsMax = int64_t{1} << 40;

// Dimensions, outermost first; each >= 0. Rank 0 is a scalar.
using Shape = absl::InlinedVector<int64_t, 4>;

// Number of elements. INVALID_ARGUMENT when the rank is above kRankMax, a
// dimension is negative, or the product is above kElementsMax.
absl::StatusOr<int64_t> NumElements(absl::Span<const int64_t> shape);

// "[2, 3]"; "[]" for a scalar.
std::string ToString(absl::Span<const int64_t> shape);

}  // namespace fff::tensor

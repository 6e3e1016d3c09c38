#include "server/checkpoint/strided_view.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::checkpoint {
namespace {

// Row-major order over all dimensions but the last, which the caller loops
// over. `index` counts up like an odometer; `position` follows it.
class Odometer {
 public:
  explicit Odometer(const StridedView& view)
      : view_(view), index_(view.shape.size(), 0), position_(view.offset) {}

  int64_t position() const { return position_; }

  // False when the last row is behind.
  bool Next() {
    for (size_t d = view_.shape.size() - 1; d-- > 0;) {
      position_ += view_.strides[d];
      if (++index_[d] < view_.shape[d]) return true;
      position_ -= view_.strides[d] * view_.shape[d];
      index_[d] = 0;
    }
    return false;
  }

 private:
  const StridedView& view_;
  tensor::Shape index_;
  int64_t position_;
};

// Fixed widths let the compiler turn each memcpy into one move.
template <size_t kWidth>
void CopyRows(const StridedView& view, const std::byte* from, std::byte* to) {
  const int64_t count = view.shape.back();
  const int64_t stride = view.strides.back();
  Odometer odometer(view);
  do {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t element = odometer.position() + i * stride;
      std::memcpy(to, from + static_cast<size_t>(element) * kWidth, kWidth);
      to += kWidth;
    }
  } while (odometer.Next());
}

}  // namespace

absl::StatusOr<int64_t> StorageExtent(const StridedView& view) {
  if (view.shape.size() != view.strides.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape has ", view.shape.size(), " dimensions, but ",
                     view.strides.size(), " strides are given"));
  }
  FFF_ASSIGN_OR_RETURN(const int64_t elements, tensor::NumElements(view.shape));
  if (view.offset < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("storage offset ", view.offset, " is negative"));
  }
  for (const int64_t stride : view.strides) {
    if (stride >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "strides ", tensor::ToString(view.strides), " hold a negative one"));
  }
  if (elements == 0) return 0;
  int64_t last = view.offset;
  for (size_t d = 0; d < view.shape.size(); ++d) {
    int64_t reach = 0;
    if (__builtin_mul_overflow(view.shape[d] - 1, view.strides[d], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "strides ", tensor::ToString(view.strides), " of shape ",
          tensor::ToString(view.shape), " reach beyond 2^63 elements"));
    }
  }
  if (__builtin_add_overflow(last, 1, &last)) {
    return absl::InvalidArgumentError(
        absl::StrCat("storage offset ", view.offset, " is too large"));
  }
  return last;
}

bool IsContiguous(const StridedView& view) {
  // First, because the other dimensions of an empty shape have no bound.
  if (std::count(view.shape.begin(), view.shape.end(), 0) > 0) return true;
  int64_t wanted = 1;
  for (size_t d = view.shape.size(); d-- > 0;) {
    // The stride of a dimension of one is never multiplied by anything.
    if (view.shape[d] != 1 && view.strides[d] != wanted) return false;
    wanted *= view.shape[d];
  }
  return true;
}

void CopyStrided(const StridedView& view, size_t width,
                 absl::Span<const std::byte> from, absl::Span<std::byte> to) {
  if (to.empty()) return;
  if (view.shape.empty()) {
    std::memcpy(to.data(),
                from.data() + static_cast<size_t>(view.offset) * width, width);
    return;
  }
  // torch writes any stride for a dimension of one, up to 2^63: no sum of the
  // odometer may see it.
  StridedView bounded = view;
  for (size_t d = 0; d < view.shape.size(); ++d) {
    if (view.shape[d] == 1) bounded.strides[d] = 0;
  }
  switch (width) {
    case 1:
      return CopyRows<1>(bounded, from.data(), to.data());
    case 2:
      return CopyRows<2>(bounded, from.data(), to.data());
    case 4:
      return CopyRows<4>(bounded, from.data(), to.data());
    default:
      return CopyRows<8>(bounded, from.data(), to.data());
  }
}

}  // namespace fff::checkpoint

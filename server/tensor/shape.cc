#include "server/tensor/shape.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fff::tensor {

absl::StatusOr<int64_t> NumElements(absl::Span<const int64_t> shape) {
  if (shape.size() > kRankMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rank ", shape.size(), " is above the maximum of ", kRankMax));
  }
  bool empty = false;
  for (const int64_t dim : shape) {
    if (dim < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ToString(shape), " has a negative dimension"));
    }
    empty = empty || dim == 0;
  }
  if (empty) return 0;
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim > kElementsMax / count) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ToString(shape), " has more than ",
                       kElementsMax, " elements"));
    }
    count *= dim;
  }
  return count;
}

std::string ToString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace fff::tensor

#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/pickle_value.h"
#include "server/tensor/shape.h"

namespace fff::checkpoint {

// What an argument tuple of a pickle may hold, by place; messages of
// INVALID_ARGUMENT start with `what` and name the place. Borrows all it gets.
class Arguments {
 public:
  Arguments(const PickleHeap& heap, const std::vector<ValueId>& items,
            absl::string_view what)
      : heap_(heap), items_(items), what_(what) {}

  absl::Status CheckCount(size_t min, size_t max) const {
    if (items_.size() >= min && items_.size() <= max) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(what_, " has ", items_.size(), " arguments, want ", min,
                     max == min ? "" : absl::StrCat(" to ", max)));
  }

  template <typename T>
  absl::Status CheckKind(size_t i, absl::string_view wanted) const {
    if (heap_.As<T>(items_[i]) != nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(what_, ": argument ", i + 1, " is ",
                     KindName(heap_.at(items_[i])), ", want ", wanted));
  }

  template <typename T>
  absl::StatusOr<T> Get(size_t i, absl::string_view wanted) const {
    FFF_RETURN_IF_ERROR(CheckKind<T>(i, wanted));
    return *heap_.As<T>(items_[i]);
  }

  // A tuple of integers, at most as many as a tensor has dimensions.
  absl::StatusOr<tensor::Shape> GetDimensions(size_t i,
                                              absl::string_view wanted) const {
    FFF_RETURN_IF_ERROR(CheckKind<PickleTuple>(i, wanted));
    const std::vector<ValueId>& items = heap_.As<PickleTuple>(items_[i])->items;
    if (items.size() > tensor::kRankMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(what_, ": rank ", items.size(),
                       " is above the maximum of ", tensor::kRankMax));
    }
    tensor::Shape dimensions;
    for (const ValueId item : items) {
      const int64_t* value = heap_.As<int64_t>(item);
      if (value == nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat(what_, ": argument ", i + 1, " holds ",
                         KindName(heap_.at(item)), ", want ", wanted));
      }
      dimensions.push_back(*value);
    }
    return dimensions;
  }

 private:
  const PickleHeap& heap_;
  const std::vector<ValueId>& items_;
  absl::string_view what_;
};

}  // namespace fff::checkpoint

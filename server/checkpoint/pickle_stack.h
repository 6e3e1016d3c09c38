#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/checkpoint/pickle_value.h"

namespace fff::checkpoint {

inline constexpr size_t kPickleStackMax = 65536;
inline constexpr size_t kPickleMarksMax = 256;

// The stack of the pickle machine: values, and marks between them. Nothing
// below the last mark can be reached until the mark is gone. Errors are
// INVALID_ARGUMENT. Owned by one thread.
class PickleStack {
 public:
  // Errors: a bound is reached.
  absl::Status Push(ValueId id);
  absl::Status PushMark();

  // Errors: no value above the last mark.
  absl::StatusOr<ValueId> Top() const;
  absl::StatusOr<ValueId> Pop();
  // As Pop, but takes the mark when no value lies above it.
  absl::Status PopValueOrMark();
  // The last `count` values, in order of pushing.
  absl::StatusOr<std::vector<ValueId>> PopMany(size_t count);
  // The values above the last mark, which goes with them. Errors: no mark.
  absl::StatusOr<std::vector<ValueId>> PopToMark();

 private:
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<ValueId> Take(size_t begin);

  std::vector<ValueId> values_;
  std::vector<size_t> marks_;  // sizes of values_ at each mark
};

}  // namespace fff::checkpoint

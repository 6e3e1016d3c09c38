#include "server/checkpoint/pickle_stack.h"

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::checkpoint {

absl::Status PickleStack::Push(ValueId id) {
  if (values_.size() == kPickleStackMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kPickleStackMax, " values on the stack"));
  }
  values_.push_back(id);
  return absl::OkStatus();
}

absl::Status PickleStack::PushMark() {
  if (marks_.size() == kPickleMarksMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kPickleMarksMax, " open marks"));
  }
  marks_.push_back(values_.size());
  return absl::OkStatus();
}

absl::StatusOr<ValueId> PickleStack::Top() const {
  if (values_.size() == Floor()) {
    return absl::InvalidArgumentError("the stack is empty");
  }
  return values_.back();
}

absl::StatusOr<ValueId> PickleStack::Pop() {
  FFF_ASSIGN_OR_RETURN(const ValueId top, Top());
  values_.pop_back();
  return top;
}

absl::Status PickleStack::PopValueOrMark() {
  if (!marks_.empty() && values_.size() == marks_.back()) {
    marks_.pop_back();
    return absl::OkStatus();
  }
  return Pop().status();
}

absl::StatusOr<std::vector<ValueId>> PickleStack::PopMany(size_t count) {
  const size_t available = values_.size() - Floor();
  if (available < count) {
    return absl::InvalidArgumentError(
        absl::StrCat("wants ", count, " values, the stack has ", available));
  }
  return Take(values_.size() - count);
}

absl::StatusOr<std::vector<ValueId>> PickleStack::PopToMark() {
  if (marks_.empty()) return absl::InvalidArgumentError("there is no mark");
  const size_t begin = marks_.back();
  marks_.pop_back();
  return Take(begin);
}

std::vector<ValueId> PickleStack::Take(size_t begin) {
  const auto first = values_.begin() + static_cast<ptrdiff_t>(begin);
  std::vector<ValueId> taken(first, values_.end());
  values_.erase(first, values_.end());
  return taken;
}

}  // namespace fff::checkpoint

#include "server/checkpoint/pickle_containers.h"

#include "absl/strings/str_cat.h"

namespace fff::checkpoint {

absl::Status AppendItems(PickleHeap& heap, ValueId list,
                         const std::vector<ValueId>& items) {
  if (heap.As<PickleOpaque>(list) != nullptr) return absl::OkStatus();
  PickleList* target = heap.As<PickleList>(list);
  if (target == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("appends to ", KindName(heap.at(list)), ", want a list"));
  }
  target->items.insert(target->items.end(), items.begin(), items.end());
  return absl::OkStatus();
}

absl::Status AddItems(PickleHeap& heap, ValueId set,
                      const std::vector<ValueId>& /*items*/) {
  if (heap.As<PickleOpaque>(set) != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("adds items to ", KindName(heap.at(set)), ", want a set"));
}

absl::Status SetItems(PickleHeap& heap, ValueId dict,
                      const std::vector<ValueId>& items) {
  if (heap.As<PickleOpaque>(dict) != nullptr) heap.at(dict) = PickleDict();
  PickleDict* target = heap.As<PickleDict>(dict);
  if (target == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sets an item of ", KindName(heap.at(dict)), ", want a dict"));
  }
  if (items.size() % 2 != 0) {
    return absl::InvalidArgumentError("a key has no value");
  }
  for (size_t i = 0; i < items.size(); i += 2) {
    target->items.emplace_back(items[i], items[i + 1]);
  }
  return absl::OkStatus();
}

absl::Status SetState(PickleHeap& heap, ValueId object,
                      const std::vector<ValueId>& /*state*/) {
  if (const auto* ref = heap.As<PickleTensorRef>(object)) {
    heap.tensor(*ref).unreadable = "has a state of its own, set by BUILD";
    return absl::OkStatus();
  }
  if (heap.As<PickleDict>(object) != nullptr ||
      heap.As<PickleOpaque>(object) != nullptr) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "sets attributes of ", KindName(heap.at(object)), ", want an object"));
}

}  // namespace fff::checkpoint

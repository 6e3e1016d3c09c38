#include "server/checkpoint/torch_objects.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/pickle_arguments.h"
#include "server/checkpoint/torch_tensors.h"

namespace fff::checkpoint {
namespace {

absl::StatusOr<ValueId> CallGlobal(PickleHeap& heap, const PickleGlobal& global,
                                   const std::vector<ValueId>& arguments) {
  switch (global.callable) {
    case Callable::kDict:
      return heap.Add(PickleDict());
    case Callable::kSize:
      if (arguments.size() == 1 &&
          heap.As<PickleTuple>(arguments[0]) != nullptr) {
        return arguments[0];
      }
      return heap.Add(PickleOpaque{"torch", "Size"});
    case Callable::kTensorType:
      return heap.Add(PickleOpaque{"torch", "Tensor"});
    case Callable::kStorageType:
      return heap.Add(PickleOpaque{"", "storage"});
    case Callable::kDataType:
      return heap.Add(PickleOpaque{"", "dtype"});
    default:
      return RebuildTensor(heap, global, arguments);
  }
}

bool IsStorageId(const PickleHeap& heap, const PickleTuple* tuple) {
  if (tuple == nullptr || tuple->items.empty()) return false;
  const auto* tag = heap.As<absl::string_view>(tuple->items[0]);
  return tag != nullptr && *tag == "storage";
}

}  // namespace

absl::StatusOr<ValueId> Call(PickleHeap& heap, ValueId callable,
                             ValueId arguments) {
  if (const auto* opaque = heap.As<PickleOpaque>(callable)) {
    return heap.Add(*opaque);
  }
  const PickleGlobal* global = heap.As<PickleGlobal>(callable);
  if (global == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("calls ", KindName(heap.at(callable)), ", want a global"));
  }
  const PickleTuple* tuple = heap.As<PickleTuple>(arguments);
  if (tuple != nullptr) return CallGlobal(heap, *global, tuple->items);
  return CallGlobal(heap, *global, {});
}

absl::StatusOr<PickleValue> LoadPersistentId(const PickleHeap& heap,
                                             ValueId id) {
  const PickleTuple* tuple = heap.As<PickleTuple>(id);
  if (!IsStorageId(heap, tuple)) return PickleOpaque{"", "persistent id"};
  const Arguments arguments(heap, tuple->items, "persistent id");
  FFF_RETURN_IF_ERROR(arguments.CheckCount(5, 5));
  if (const auto* type = heap.As<PickleOpaque>(tuple->items[1])) return *type;
  FFF_ASSIGN_OR_RETURN(const auto type,
                       arguments.Get<PickleGlobal>(1, "a storage type"));
  if (type.callable != Callable::kStorageType) {
    return absl::InvalidArgumentError(
        "persistent id: argument 2 is a global that is no storage type");
  }
  FFF_ASSIGN_OR_RETURN(const auto key, arguments.Get<absl::string_view>(
                                           2, "a str (the storage's key)"));
  FFF_RETURN_IF_ERROR(
      arguments.CheckKind<absl::string_view>(3, "a str (the location)"));
  FFF_ASSIGN_OR_RETURN(const auto numel,
                       arguments.Get<int64_t>(4, "an int (numel)"));
  if (numel < 0 || numel > tensor::kElementsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("storage \"", base::Printable(key), "\" has ", numel,
                     " elements, want 0 to ", tensor::kElementsMax));
  }
  return PickleStorage{type.data_type, key, numel};
}

}  // namespace fff::checkpoint

#include "server/checkpoint/torch_objects.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::checkpoint {
namespace {

using tensor::DataType;

struct AllowedGlobal {
  absl::string_view module;
  absl::string_view name;
  PickleGlobal global;
};

constexpr AllowedGlobal kAllowed[] = {
    {"collections", "OrderedDict", {Callable::kOrderedDict}},
    {"torch._utils", "_rebuild_tensor_v2", {Callable::kRebuildTensorV2}},
    {"torch._utils", "_rebuild_parameter", {Callable::kRebuildParameter}},
    {"torch._utils",
     "_rebuild_parameter_with_state",
     {Callable::kRebuildParameterWithState}},
    {"torch", "Size", {Callable::kSize}},
    {"torch", "device", {Callable::kDevice}},
    {"torch", "FloatStorage", {Callable::kStorageType, DataType::kF32}},
    {"torch", "DoubleStorage", {Callable::kStorageType, DataType::kF64}},
    {"torch", "HalfStorage", {Callable::kStorageType, DataType::kF16}},
    {"torch", "BFloat16Storage", {Callable::kStorageType, DataType::kBF16}},
    {"torch", "LongStorage", {Callable::kStorageType, DataType::kI64}},
    {"torch", "IntStorage", {Callable::kStorageType, DataType::kI32}},
    {"torch", "ShortStorage", {Callable::kStorageType, DataType::kI16}},
    {"torch", "CharStorage", {Callable::kStorageType, DataType::kI8}},
    {"torch", "ByteStorage", {Callable::kStorageType, DataType::kU8}},
    {"torch", "BoolStorage", {Callable::kStorageType, DataType::kBool}},
    // Counts bytes. Typed storages are always written with their type's name
    // from torch 1.5 to 2.x, so torch.storage.TypedStorage never occurs.
    {"torch.storage",
     "UntypedStorage",
     {Callable::kStorageType, DataType::kU8}},
};

// What an argument tuple may hold, by place; messages name the place.
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
                                              absl::string_view wanted) const;

 private:
  const PickleHeap& heap_;
  const std::vector<ValueId>& items_;
  absl::string_view what_;
};

absl::StatusOr<tensor::Shape> Arguments::GetDimensions(
    size_t i, absl::string_view wanted) const {
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

// (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]).
absl::StatusOr<ValueId> RebuildTensor(PickleHeap& heap,
                                      const std::vector<ValueId>& items) {
  const Arguments arguments(heap, items, "_rebuild_tensor_v2");
  FFF_RETURN_IF_ERROR(arguments.CheckCount(6, 7));
  PickleTensor tensor;
  FFF_ASSIGN_OR_RETURN(tensor.storage,
                       arguments.Get<PickleStorage>(0, "a storage"));
  FFF_ASSIGN_OR_RETURN(tensor.view.offset,
                       arguments.Get<int64_t>(1, "an int (offset)"));
  FFF_ASSIGN_OR_RETURN(tensor.view.shape,
                       arguments.GetDimensions(2, "a tuple of int (size)"));
  FFF_ASSIGN_OR_RETURN(tensor.view.strides,
                       arguments.GetDimensions(3, "a tuple of int (stride)"));
  if (items.size() == 7 && heap.As<PickleNone>(items[6]) == nullptr) {
    // Metadata marks conjugated and negated views: other values than stored.
    const PickleDict* metadata = heap.As<PickleDict>(items[6]);
    if (metadata == nullptr || !metadata->items.empty()) {
      return absl::InvalidArgumentError(
          "_rebuild_tensor_v2: tensor metadata (a conjugated or negated view) "
          "is not supported; save tensor.clone()");
    }
  }
  const absl::StatusOr<int64_t> extent = StorageExtent(tensor.view);
  FFF_RETURN_IF_ERROR(base::Annotate(extent.status(), "_rebuild_tensor_v2"));
  if (*extent > tensor.storage.numel) {
    return absl::InvalidArgumentError(absl::StrCat(
        "_rebuild_tensor_v2: shape ", tensor::ToString(tensor.view.shape),
        ", strides ", tensor::ToString(tensor.view.strides), " and offset ",
        tensor.view.offset, " need ", *extent, " elements, but storage \"",
        base::Printable(tensor.storage.key), "\" has ", tensor.storage.numel));
  }
  return heap.AddTensor(std::move(tensor));
}

// (data, requires_grad, backward_hooks[, state]): the parameter is its data.
absl::StatusOr<ValueId> RebuildParameter(const PickleHeap& heap,
                                         const std::vector<ValueId>& items,
                                         bool with_state) {
  const Arguments arguments(
      heap, items,
      with_state ? "_rebuild_parameter_with_state" : "_rebuild_parameter");
  const size_t count = with_state ? 4 : 3;
  FFF_RETURN_IF_ERROR(arguments.CheckCount(count, count));
  FFF_RETURN_IF_ERROR(arguments.CheckKind<PickleTensorRef>(0, "a tensor"));
  return items[0];
}

}  // namespace

absl::StatusOr<PickleGlobal> FindGlobal(absl::string_view module,
                                        absl::string_view name) {
  for (const AllowedGlobal& allowed : kAllowed) {
    if (allowed.module == module && allowed.name == name) return allowed.global;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "global ", base::Printable(module), ".", base::Printable(name),
      " is not allowed in a checkpoint (nothing was executed); save tensors "
      "only: torch.save(model.state_dict(), path)"));
}

absl::StatusOr<ValueId> Call(PickleHeap& heap, ValueId callable,
                             ValueId arguments) {
  const PickleGlobal* global = heap.As<PickleGlobal>(callable);
  const PickleTuple* tuple = heap.As<PickleTuple>(arguments);
  if (global == nullptr || tuple == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "calls ", KindName(heap.at(callable)), " with ",
        KindName(heap.at(arguments)), ", want a global and a tuple"));
  }
  switch (global->callable) {
    case Callable::kOrderedDict:
      FFF_RETURN_IF_ERROR(
          Arguments(heap, tuple->items, "OrderedDict").CheckCount(0, 0));
      return heap.Add(PickleDict());
    case Callable::kRebuildTensorV2:
      return RebuildTensor(heap, tuple->items);
    case Callable::kRebuildParameter:
      return RebuildParameter(heap, tuple->items, /*with_state=*/false);
    case Callable::kRebuildParameterWithState:
      return RebuildParameter(heap, tuple->items, /*with_state=*/true);
    case Callable::kSize: {
      const Arguments size(heap, tuple->items, "torch.Size");
      FFF_RETURN_IF_ERROR(size.CheckCount(1, 1));
      FFF_RETURN_IF_ERROR(size.CheckKind<PickleTuple>(0, "a tuple"));
      return tuple->items[0];
    }
    case Callable::kDevice:
      return heap.Add(PickleOpaque{"device"});
    case Callable::kStorageType:
      break;
  }
  return absl::InvalidArgumentError("calls a storage type");
}

absl::StatusOr<PickleStorage> LoadPersistentId(const PickleHeap& heap,
                                               ValueId id) {
  const PickleTuple* tuple = heap.As<PickleTuple>(id);
  if (tuple == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "persistent id is ", KindName(heap.at(id)), ", want a tuple"));
  }
  const Arguments arguments(heap, tuple->items, "persistent id");
  FFF_RETURN_IF_ERROR(arguments.CheckCount(5, 5));
  FFF_ASSIGN_OR_RETURN(const auto tag, arguments.Get<absl::string_view>(
                                           0, "the str \"storage\""));
  if (tag != "storage") {
    return absl::InvalidArgumentError(absl::StrCat("persistent id is for \"",
                                                   base::Printable(tag),
                                                   "\", want \"storage\""));
  }
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

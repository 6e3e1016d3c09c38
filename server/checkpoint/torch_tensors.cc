#include "server/checkpoint/torch_tensors.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/pickle_arguments.h"

namespace fff::checkpoint {
namespace {

// Of a tensor whose elements the exporter can write as another dtype or dense.
constexpr absl::string_view kExport =
    "; convert the file with python -m fff_client.export";

using Items = std::vector<ValueId>;

// More than any sparse layout has.
constexpr size_t kSparseItemsMax = 8;

PickleTensor Unreadable(std::string why, absl::Span<const int64_t> shape = {}) {
  PickleTensor tensor;
  tensor.unreadable = std::move(why);
  tensor.view.shape.assign(shape.begin(), shape.end());
  return tensor;
}

// A tuple of dimensions, empty where it is none that a tensor can have.
tensor::Shape ShapeOf(const PickleHeap& heap, const Items& items, size_t i) {
  if (i >= items.size()) return {};
  auto shape = Arguments(heap, items, "").GetDimensions(i, "");
  if (!shape.ok() || !tensor::NumElements(*shape).ok()) return {};
  return *std::move(shape);
}

// Empty metadata, or none: else it marks conjugated and negated views, other
// values than those stored.
bool IsPlain(const PickleHeap& heap, const Items& items, size_t i) {
  if (i >= items.size() || heap.As<PickleNone>(items[i]) != nullptr) {
    return true;
  }
  const PickleDict* metadata = heap.As<PickleDict>(items[i]);
  return metadata != nullptr && metadata->items.empty();
}

// Storages and dtypes of complex numbers, which the exporter refuses, too.
bool IsComplex(absl::string_view name) {
  return absl::StrContains(absl::AsciiStrToLower(name), "complex");
}

absl::Status CheckExtent(const PickleTensor& tensor, absl::string_view what) {
  const absl::StatusOr<int64_t> extent = StorageExtent(tensor.view);
  FFF_RETURN_IF_ERROR(base::Annotate(extent.status(), what));
  if (*extent <= tensor.storage.numel) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, ": shape ", tensor::ToString(tensor.view.shape), ", strides ",
      tensor::ToString(tensor.view.strides), " and offset ", tensor.view.offset,
      " need ", *extent, " elements, but storage \"",
      base::Printable(tensor.storage.key), "\" has ", tensor.storage.numel));
}

// (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]),
// and v3 with the dtype before the metadata and a storage that counts bytes.
absl::StatusOr<PickleTensor> Dense(const PickleHeap& heap, const Items& items,
                                   bool has_data_type) {
  const absl::string_view what =
      has_data_type ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2";
  const Arguments arguments(heap, items, what);
  const size_t given = has_data_type ? 7 : 6;
  FFF_RETURN_IF_ERROR(arguments.CheckCount(given, given + 1));
  // A dtype or type of storage that is unknown is opaque, with its name.
  for (const size_t i : {size_t{0}, given - 1}) {
    if (i == given - 1 && !has_data_type) break;
    if (heap.As<PickleOpaque>(items[i]) == nullptr) continue;
    const std::string name = KindName(heap.at(items[i]));
    return Unreadable(absl::StrCat("is of ", name, ", which is not read",
                                   IsComplex(name) ? "" : kExport),
                      ShapeOf(heap, items, 2));
  }
  PickleTensor tensor;
  FFF_ASSIGN_OR_RETURN(tensor.storage,
                       arguments.Get<PickleStorage>(0, "a storage"));
  FFF_ASSIGN_OR_RETURN(tensor.view.offset,
                       arguments.Get<int64_t>(1, "an int (offset)"));
  FFF_ASSIGN_OR_RETURN(tensor.view.shape,
                       arguments.GetDimensions(2, "a tuple of int (size)"));
  FFF_ASSIGN_OR_RETURN(tensor.view.strides,
                       arguments.GetDimensions(3, "a tuple of int (stride)"));
  if (has_data_type) {
    FFF_ASSIGN_OR_RETURN(const auto type,
                         arguments.Get<PickleGlobal>(6, "a dtype"));
    if (type.callable != Callable::kDataType) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": argument 7 is a global that is no dtype"));
    }
    tensor.storage.numel =
        tensor.storage.numel *
        static_cast<int64_t>(tensor::ByteWidth(tensor.storage.data_type)) /
        static_cast<int64_t>(tensor::ByteWidth(type.data_type));
    tensor.storage.data_type = type.data_type;
  }
  if (!IsPlain(heap, items, given)) {
    return Unreadable(
        absl::StrCat("is a conjugated or negated view, which is not read; save "
                     "tensor.resolve_neg().resolve_conj()"),
        ShapeOf(heap, items, 2));
  }
  FFF_RETURN_IF_ERROR(CheckExtent(tensor, what));
  return tensor;
}

// (data, requires_grad, backward_hooks[, state]): the parameter is its data.
absl::StatusOr<ValueId> Parameter(const PickleHeap& heap, const Items& items,
                                  bool with_state) {
  const Arguments arguments(
      heap, items,
      with_state ? "_rebuild_parameter_with_state" : "_rebuild_parameter");
  const size_t count = with_state ? 4 : 3;
  FFF_RETURN_IF_ERROR(arguments.CheckCount(count, count));
  if (heap.As<PickleOpaque>(items[0]) != nullptr) return items[0];
  FFF_RETURN_IF_ERROR(arguments.CheckKind<PickleTensorRef>(0, "a tensor"));
  return items[0];
}

// The tensors that are never read, with the shape where it is known.
PickleTensor Foreign(const PickleHeap& heap, const PickleGlobal& function,
                     const Items& items) {
  switch (function.callable) {
    case Callable::kRebuildQuantized:
      // (storage, offset, size, stride, quantizer, ...)
      return Unreadable(
          absl::StrCat("is quantised, which is not read", kExport),
          ShapeOf(heap, items, 2));
    case Callable::kRebuildSparse: {
      // (layout, (indices, values, size, ...)); csr has two kinds of indices.
      const PickleTuple* data =
          items.size() < 2 ? nullptr : heap.As<PickleTuple>(items[1]);
      tensor::Shape shape;
      for (size_t i = 0; data != nullptr && i < data->items.size(); ++i) {
        if (!shape.empty() || i == kSparseItemsMax) break;
        shape = ShapeOf(heap, data->items, i);
      }
      return Unreadable(absl::StrCat("is sparse, which is not read", kExport),
                        shape);
    }
    case Callable::kRebuildMeta:
      // (dtype, size, stride, requires_grad)
      return Unreadable("is on the meta device: the file has no data for it",
                        ShapeOf(heap, items, 1));
    default:
      return Unreadable(absl::StrCat("is made by torch._utils.",
                                     base::Printable(function.name),
                                     ", which is not read", kExport));
  }
}

bool IsInteger(tensor::DataType type) {
  switch (type) {
    case tensor::DataType::kF16:
    case tensor::DataType::kBF16:
    case tensor::DataType::kF32:
    case tensor::DataType::kF64:
      return false;
    default:
      return true;
  }
}

absl::StatusOr<ValueId> Rebuild(PickleHeap& heap, const PickleGlobal& function,
                                const Items& items);

// (function, class, arguments, state): a tensor with attributes, or of a class
// that derives from torch.Tensor. Its elements are those that the function
// makes. Integers of an unknown class may stand for other values, as those of
// bitsandbytes' Int8Params do.
absl::StatusOr<ValueId> FromType(PickleHeap& heap, const Items& items) {
  const Arguments arguments(heap, items, "_rebuild_from_type");
  FFF_RETURN_IF_ERROR(arguments.CheckCount(4, 4));
  if (heap.As<PickleOpaque>(items[0]) != nullptr) return items[0];
  FFF_ASSIGN_OR_RETURN(const auto function,
                       arguments.Get<PickleGlobal>(0, "a function"));
  FFF_RETURN_IF_ERROR(arguments.CheckKind<PickleTuple>(2, "a tuple"));
  // Not copied: a hostile file may name one long tuple many times.
  const Items& inner = heap.As<PickleTuple>(items[2])->items;
  if (function.callable == Callable::kRebuildFromType) {
    return absl::InvalidArgumentError("_rebuild_from_type calls itself");
  }
  FFF_ASSIGN_OR_RETURN(const ValueId made, Rebuild(heap, function, inner));
  const auto* ref = heap.As<PickleTensorRef>(made);
  if (ref == nullptr || heap.As<PickleOpaque>(items[1]) == nullptr ||
      !heap.tensor(*ref).unreadable.empty() ||
      !IsInteger(heap.tensor(*ref).storage.data_type)) {
    return made;
  }
  return heap.AddTensor(Unreadable(
      absl::StrCat("holds integers of the class ", KindName(heap.at(items[1])),
                   ", whose meaning is unknown"),
      heap.tensor(*ref).view.shape));
}

absl::StatusOr<ValueId> Rebuild(PickleHeap& heap, const PickleGlobal& function,
                                const Items& items) {
  switch (function.callable) {
    case Callable::kRebuildTensorV2:
    case Callable::kRebuildTensorV3: {
      FFF_ASSIGN_OR_RETURN(
          PickleTensor tensor,
          Dense(heap, items, function.callable == Callable::kRebuildTensorV3));
      return heap.AddTensor(std::move(tensor));
    }
    case Callable::kRebuildParameter:
      return Parameter(heap, items, /*with_state=*/false);
    case Callable::kRebuildParameterWithState:
      return Parameter(heap, items, /*with_state=*/true);
    case Callable::kRebuildFromType:
      return FromType(heap, items);
    default:
      return heap.AddTensor(Foreign(heap, function, items));
  }
}

}  // namespace

absl::StatusOr<ValueId> RebuildTensor(PickleHeap& heap,
                                      const PickleGlobal& function,
                                      const std::vector<ValueId>& arguments) {
  if (heap.tensor_count() >= kPickleTensorsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kPickleTensorsMax, " tensors"));
  }
  absl::StatusOr<ValueId> made = Rebuild(heap, function, arguments);
  if (made.ok()) return made;
  return heap.AddTensor(
      Unreadable(absl::StrCat("cannot be built: ", made.status().message())));
}

}  // namespace fff::checkpoint

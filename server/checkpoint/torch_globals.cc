#include "server/checkpoint/torch_globals.h"

#include "absl/strings/match.h"

namespace fff::checkpoint {
namespace {

using tensor::DataType;

struct KnownGlobal {
  absl::string_view module;
  absl::string_view name;
  PickleGlobal global;
};

constexpr KnownGlobal kKnown[] = {
    {"collections", "OrderedDict", {Callable::kDict}},
    {"collections", "defaultdict", {Callable::kDict}},
    {"torch._utils", "_rebuild_tensor_v2", {Callable::kRebuildTensorV2}},
    {"torch._utils", "_rebuild_tensor_v3", {Callable::kRebuildTensorV3}},
    {"torch._utils", "_rebuild_parameter", {Callable::kRebuildParameter}},
    {"torch._utils",
     "_rebuild_parameter_with_state",
     {Callable::kRebuildParameterWithState}},
    {"torch._utils", "_rebuild_qtensor", {Callable::kRebuildQuantized}},
    {"torch._utils", "_rebuild_sparse_tensor", {Callable::kRebuildSparse}},
    {"torch._utils", "_rebuild_sparse_csr_tensor", {Callable::kRebuildSparse}},
    {"torch._utils",
     "_rebuild_meta_tensor_no_storage",
     {Callable::kRebuildMeta}},
    {"torch._tensor", "_rebuild_from_type", {Callable::kRebuildFromType}},
    {"torch._tensor", "_rebuild_from_type_v2", {Callable::kRebuildFromType}},
    {"torch", "Tensor", {Callable::kTensorType}},
    {"torch.nn.parameter", "Parameter", {Callable::kTensorType}},
    {"torch.nn.parameter", "Buffer", {Callable::kTensorType}},
    {"torch", "Size", {Callable::kSize}},
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
    {"torch", "float32", {Callable::kDataType, DataType::kF32}},
    {"torch", "float64", {Callable::kDataType, DataType::kF64}},
    {"torch", "float16", {Callable::kDataType, DataType::kF16}},
    {"torch", "bfloat16", {Callable::kDataType, DataType::kBF16}},
    {"torch", "int64", {Callable::kDataType, DataType::kI64}},
    {"torch", "int32", {Callable::kDataType, DataType::kI32}},
    {"torch", "int16", {Callable::kDataType, DataType::kI16}},
    {"torch", "int8", {Callable::kDataType, DataType::kI8}},
    {"torch", "uint8", {Callable::kDataType, DataType::kU8}},
    {"torch", "bool", {Callable::kDataType, DataType::kBool}},
};

}  // namespace

PickleValue FindGlobal(absl::string_view module, absl::string_view name) {
  for (const KnownGlobal& known : kKnown) {
    if (known.module == module && known.name == name) return known.global;
  }
  // Nested, XLA, subclass and device tensors, and those of later versions.
  if (module == "torch._utils" && absl::StartsWith(name, "_rebuild_")) {
    return PickleGlobal{Callable::kRebuildOther, DataType::kU8, name};
  }
  return PickleOpaque{module, name};
}

}  // namespace fff::checkpoint

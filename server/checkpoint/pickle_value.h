#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/checkpoint/strided_view.h"
#include "server/tensor/data_type.h"

// The values that a pickle can build. They are plain data in one
// heap and name each other by index, so that cycles, sharing and deep nesting
// need no recursion and cost nothing to destroy.
namespace fff::checkpoint {

using ValueId = uint32_t;

struct PickleNone {};
// A value that is carried but never looked at. Messages call it by its name: a
// global that is not on the list of torch_globals.h, and whatever calling that
// would make ("numpy", "dtype"), or, without a module, a plain kind ("bytes").
struct PickleOpaque {
  absl::string_view module;
  absl::string_view name;
};
struct PickleTuple {
  std::vector<ValueId> items;
};
struct PickleList {
  std::vector<ValueId> items;
};
struct PickleDict {
  std::vector<std::pair<ValueId, ValueId>> items;  // in order of insertion
};

// A name on the list of torch_globals.h. Storage types and dtypes carry the
// element type they stand for.
enum class Callable : uint8_t {
  kDict,  // makes an empty dict, whatever its arguments
  kRebuildTensorV2,
  kRebuildTensorV3,
  kRebuildParameter,
  kRebuildParameterWithState,
  kRebuildFromType,
  kRebuildQuantized,
  kRebuildSparse,
  kRebuildMeta,
  kRebuildOther,  // makes a tensor of a form that is not read
  kTensorType,    // torch.Tensor and classes that only rename it
  kSize,
  kStorageType,
  kDataType,
};
struct PickleGlobal {
  Callable callable;
  tensor::DataType data_type = tensor::DataType::kU8;
  absl::string_view name = {};  // of kRebuildOther
};

// A storage of the archive, not yet read: file data/<key>.
struct PickleStorage {
  tensor::DataType data_type;
  absl::string_view key;
  int64_t numel;
};
// A tensor, or one that cannot be read. Then `unreadable` says why, to follow
// the tensor's name. Of the rest only view.shape may mean something; it is
// empty where the shape is not known, too.
struct PickleTensor {
  PickleStorage storage;
  StridedView view;
  std::string unreadable;
};
// Index into PickleHeap::tensors: a tensor is larger than every other value.
struct PickleTensorRef {
  uint32_t index;
};

// Strings are views of the pickle's bytes.
using PickleValue =
    std::variant<PickleNone, bool, int64_t, double, absl::string_view,
                 PickleOpaque, PickleTuple, PickleList, PickleDict,
                 PickleGlobal, PickleStorage, PickleTensorRef>;

// What messages call the value's type: "None", "int", "tensor", "numpy.dtype".
// Printable.
std::string KindName(const PickleValue& value);

// All values of one pickle. Grows only; an id stays valid. Owned by one thread.
class PickleHeap {
 public:
  ValueId Add(PickleValue value) {
    values_.push_back(std::move(value));
    return static_cast<ValueId>(values_.size() - 1);
  }
  ValueId AddTensor(PickleTensor tensor) {
    tensors_.push_back(std::move(tensor));
    return Add(PickleTensorRef{static_cast<uint32_t>(tensors_.size() - 1)});
  }

  PickleValue& at(ValueId id) { return values_[id]; }
  const PickleValue& at(ValueId id) const { return values_[id]; }
  const PickleTensor& tensor(PickleTensorRef ref) const {
    return tensors_[ref.index];
  }
  PickleTensor& tensor(PickleTensorRef ref) { return tensors_[ref.index]; }
  size_t tensor_count() const { return tensors_.size(); }

  // Null when the value is of another type.
  template <typename T>
  const T* As(ValueId id) const {
    return std::get_if<T>(&values_[id]);
  }
  template <typename T>
  T* As(ValueId id) {
    return std::get_if<T>(&values_[id]);
  }

 private:
  std::deque<PickleValue> values_;
  std::deque<PickleTensor> tensors_;
};

}  // namespace fff::checkpoint

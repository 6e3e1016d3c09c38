#include "server/checkpoint/state_dict.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/utf8.h"
#include "server/checkpoint/checkpoint.h"
#include "server/checkpoint/state_dict_choice.h"

namespace fff::checkpoint {
namespace {

absl::Status CheckName(absl::string_view name) {
  if (name.size() > kTensorNameBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor name \"", base::Printable(name, 40), "\" has ", name.size(),
        " bytes, at most ", kTensorNameBytesMax, " are allowed"));
  }
  if (!base::IsUtf8(name)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor name \"", base::Printable(name), "\" is not UTF-8"));
  }
  return absl::OkStatus();
}

// A dict inside a state_dict is a part of it when it holds floats of one
// dimension or more: parameters. Scores and random states are dropped.
bool HoldsParameters(const PickleHeap& heap, const PickleDict& dict) {
  for (const auto& item : dict.items) {
    const auto* ref = heap.As<PickleTensorRef>(item.second);
    if (ref == nullptr) continue;
    const PickleTensor& tensor = heap.tensor(*ref);
    if (!tensor.unreadable.empty()) return true;
    const tensor::DataType type = tensor.storage.data_type;
    const bool floats =
        type == tensor::DataType::kF16 || type == tensor::DataType::kBF16 ||
        type == tensor::DataType::kF32 || type == tensor::DataType::kF64;
    if (floats && !tensor.view.shape.empty()) return true;
  }
  return false;
}

// Of these nobody thinks that they are tensors.
bool IsPlain(const PickleValue& value) {
  return std::holds_alternative<PickleNone>(value) ||
         std::holds_alternative<bool>(value) ||
         std::holds_alternative<absl::string_view>(value);
}

// Gathers the entries of a dict and of those inside it.
class Collector {
 public:
  explicit Collector(const PickleHeap& heap) : heap_(heap) {}

  absl::Status Add(ValueId root);
  StateDict Take() { return std::move(state_); }

 private:
  // A dict, and the way to it: `parent` is an index of open_.
  struct Open {
    ValueId dict;
    size_t parent;
    absl::string_view key;
    int depth;
  };

  std::string PrefixOf(size_t at) const;
  absl::Status AddEntry(const std::string& name, ValueId value);

  const PickleHeap& heap_;
  std::vector<Open> open_;
  absl::flat_hash_set<ValueId> seen_;
  absl::flat_hash_set<std::string> names_;
  StateDict state_;
};

absl::Status Collector::AddEntry(const std::string& name, ValueId value) {
  if (names_.size() == size_t{kTensorsMax}) {
    return absl::InvalidArgumentError(
        absl::StrCat("the state_dict has more than ", kTensorsMax, " entries"));
  }
  if (!names_.insert(name).second) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor name \"", base::Printable(name), "\" occurs twice"));
  }
  if (const auto* tensor = heap_.As<PickleTensorRef>(value)) {
    state_.entries.push_back({name, *tensor});
  } else if (const auto* integer = heap_.As<int64_t>(value)) {
    state_.entries.push_back({name, *integer});
  } else if (const auto* number = heap_.As<double>(value)) {
    state_.entries.push_back({name, *number});
  } else if (!IsPlain(heap_.at(value))) {
    state_.others.emplace(name, KindName(heap_.at(value)));
  }
  return absl::OkStatus();
}

std::string Collector::PrefixOf(size_t at) const {
  std::string prefix;
  for (; at != 0; at = open_[at].parent) {
    prefix = absl::StrCat(open_[at].key, ".", prefix);
  }
  return prefix;
}

absl::Status Collector::Add(ValueId root) {
  open_.push_back({root, 0, "", 0});
  seen_.insert(root);
  for (size_t i = 0; i < open_.size(); ++i) {
    const Open at = open_[i];
    const PickleDict& dict = *heap_.As<PickleDict>(at.dict);
    const bool part = i == 0 || HoldsParameters(heap_, dict);
    const std::string prefix = part ? PrefixOf(i) : "";
    for (const auto& [key_id, value_id] : dict.items) {
      const auto* key = heap_.As<absl::string_view>(key_id);
      if (key == nullptr) continue;  // no layer can want it
      if (heap_.As<PickleDict>(value_id) != nullptr) {
        if (at.depth < kEntryDepthMax && seen_.insert(value_id).second &&
            IsPart(heap_, *key, value_id)) {
          open_.push_back({value_id, i, *key, at.depth + 1});
        }
      } else if (part) {
        const std::string name = absl::StrCat(prefix, *key);
        FFF_RETURN_IF_ERROR(CheckName(name));
        FFF_RETURN_IF_ERROR(AddEntry(name, value_id));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StateDict> ReadStateDict(const Unpickled& unpickled,
                                        absl::string_view entry) {
  const PickleHeap& heap = unpickled.heap;
  FFF_ASSIGN_OR_RETURN(const ValueId dict,
                       ChooseStateDict(heap, unpickled.root, entry));
  Collector collector(heap);
  FFF_RETURN_IF_ERROR(collector.Add(dict));
  return collector.Take();
}

}  // namespace fff::checkpoint

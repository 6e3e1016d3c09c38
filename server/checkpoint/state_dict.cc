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

// Gathers the entries of a dict and of those inside it.
class Collector {
 public:
  explicit Collector(const PickleHeap& heap) : heap_(heap) {}

  absl::Status Add(ValueId root);
  StateDict Take() { return std::move(state_); }

 private:
  struct Open {
    ValueId dict;
    std::string prefix;
    int depth;
  };

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
  } else {
    state_.others.emplace(name, KindName(heap_.at(value)));
  }
  return absl::OkStatus();
}

absl::Status Collector::Add(ValueId root) {
  open_.push_back({root, "", 0});
  seen_.insert(root);
  for (size_t i = 0; i < open_.size(); ++i) {
    const Open at = open_[i];
    const auto* dict = heap_.As<PickleDict>(at.dict);
    if (dict == nullptr) continue;
    const bool part = at.dict == root || HoldsParameters(heap_, *dict);
    for (const auto& [key_id, value_id] : dict->items) {
      const auto* key = heap_.As<absl::string_view>(key_id);
      if (key == nullptr) continue;  // no layer can want it
      const PickleDict* inside = FindPart(heap_, *key, value_id);
      if (inside == nullptr && !part) continue;
      const std::string name = absl::StrCat(at.prefix, *key);
      FFF_RETURN_IF_ERROR(CheckName(name));
      if (inside == nullptr) {
        FFF_RETURN_IF_ERROR(AddEntry(name, value_id));
      } else if (open_.size() == size_t{kTensorsMax}) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the state_dict has more than ", kTensorsMax, " dicts inside"));
      } else if (at.depth < kEntryDepthMax && seen_.insert(value_id).second) {
        open_.push_back({value_id, absl::StrCat(name, "."), at.depth + 1});
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

#include "server/checkpoint/state_dict.h"

#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/base/utf8.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::checkpoint {
namespace {

constexpr absl::string_view kNestingKeys[] = {"state_dict", "model_state_dict",
                                              "model"};
constexpr size_t kKeysInMessageMax = 20;

bool IsNestingKey(absl::string_view name) {
  for (const absl::string_view key : kNestingKeys) {
    if (name == key) return true;
  }
  return false;
}

std::string KeyList(const PickleHeap& heap, const PickleDict& dict) {
  std::string keys;
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i == kKeysInMessageMax) {
      absl::StrAppend(&keys, " and ", dict.items.size() - i, " more");
      break;
    }
    const auto* key = heap.As<absl::string_view>(dict.items[i].first);
    absl::StrAppend(&keys, i == 0 ? "" : ", ",
                    key != nullptr ? base::Printable(*key)
                                   : KindName(heap.at(dict.items[i].first)));
  }
  return keys.empty() ? "none" : keys;
}

// The dict below one of kNestingKeys, `top` itself when there is none.
absl::StatusOr<const PickleDict*> FindStateDict(const PickleHeap& heap,
                                                const PickleDict& top) {
  const PickleDict* nested = nullptr;
  absl::string_view nested_key;
  for (const auto& [key_id, value_id] : top.items) {
    const auto* key = heap.As<absl::string_view>(key_id);
    const auto* dict = heap.As<PickleDict>(value_id);
    if (key == nullptr || dict == nullptr || !IsNestingKey(*key)) continue;
    if (nested != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the top level has a dict below \"", nested_key, "\" and below \"",
          *key, "\"; save only the state_dict that is meant"));
    }
    nested = dict;
    nested_key = *key;
  }
  return nested != nullptr ? nested : &top;
}

absl::StatusOr<absl::string_view> CheckName(const PickleHeap& heap,
                                            ValueId id) {
  const auto* name = heap.As<absl::string_view>(id);
  if (name == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a name in the state_dict is ", KindName(heap.at(id)), ", want str"));
  }
  if (name->size() > kTensorNameBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor name \"", base::Printable(*name, 40), "\" has ", name->size(),
        " bytes, at most ", kTensorNameBytesMax, " are allowed"));
  }
  if (!base::IsUtf8(*name)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor name \"", base::Printable(*name), "\" is not UTF-8"));
  }
  return *name;
}

std::optional<StateEntry> ReadEntry(const PickleHeap& heap,
                                    absl::string_view name, ValueId id) {
  if (const auto* tensor = heap.As<PickleTensorRef>(id)) {
    return StateEntry{name, *tensor};
  }
  if (const auto* integer = heap.As<int64_t>(id)) {
    return StateEntry{name, *integer};
  }
  if (const auto* number = heap.As<double>(id)) {
    return StateEntry{name, *number};
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::vector<StateEntry>> ReadStateDict(
    const Unpickled& unpickled) {
  const PickleHeap& heap = unpickled.heap;
  const auto* top = heap.As<PickleDict>(unpickled.root);
  if (top == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the top level is ", KindName(heap.at(unpickled.root)),
                     ", want a state_dict: a dict of names to tensors"));
  }
  FFF_ASSIGN_OR_RETURN(const PickleDict* dict, FindStateDict(heap, *top));
  if (dict->items.size() > size_t{kTensorsMax}) {
    return absl::InvalidArgumentError(
        absl::StrCat("the state_dict has ", dict->items.size(),
                     " entries, at most ", kTensorsMax, " are allowed"));
  }
  std::vector<StateEntry> entries;
  absl::flat_hash_set<absl::string_view> names;
  bool has_tensor = false;
  for (const auto& [key_id, value_id] : dict->items) {
    FFF_ASSIGN_OR_RETURN(const absl::string_view name, CheckName(heap, key_id));
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor name \"", base::Printable(name), "\" occurs twice"));
    }
    const std::optional<StateEntry> entry = ReadEntry(heap, name, value_id);
    if (!entry.has_value()) continue;
    has_tensor =
        has_tensor || std::holds_alternative<PickleTensorRef>(entry->value);
    entries.push_back(*entry);
  }
  if (!has_tensor) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the state_dict holds no tensor; its keys are: ", KeyList(heap, *dict),
        "; a dict of tensors may also stand below \"state_dict\", "
        "\"model_state_dict\" or \"model\""));
  }
  return entries;
}

}  // namespace fff::checkpoint

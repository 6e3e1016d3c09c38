#include "server/checkpoint/state_dict_choice.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::checkpoint {
namespace {

constexpr absl::string_view kWrappers[] = {"state_dict", "model_state_dict",
                                           "model", "module"};
constexpr absl::string_view kIndices[] = {"0", "1", "2", "3",
                                          "4", "5", "6", "7"};
constexpr size_t kShown = 20;
constexpr size_t kReadingsMax = 64;

constexpr int kNone = -1;

// A dict on the way from the root. `parent` is an index of the list.
struct Node {
  ValueId dict = 0;
  absl::string_view key = {};
  int parent = kNone;
  int depth = 0;
  bool any = false;     // holds a tensor
  bool matrix = false;  // of two dimensions or more
  bool dropped = false;
  int part_of = kNone;
};

bool IsExtraState(absl::string_view key) {
  return key == "_extra_state" || absl::EndsWith(key, "._extra_state");
}

bool IsOptimizer(const PickleHeap& heap, const PickleDict& dict) {
  bool state = false;
  bool groups = false;
  for (const auto& [key_id, value_id] : dict.items) {
    const auto* key = heap.As<absl::string_view>(key_id);
    if (key == nullptr) continue;
    state |= *key == "state" && heap.As<PickleDict>(value_id) != nullptr;
    groups |=
        *key == "param_groups" && heap.As<PickleList>(value_id) != nullptr;
  }
  return state && groups;
}

// Calls visit(key, value) for the items that a path can name.
template <typename Visit>
void ForEachChild(const PickleHeap& heap, ValueId id, const Visit& visit) {
  if (const auto* dict = heap.As<PickleDict>(id)) {
    for (const auto& [key_id, value_id] : dict->items) {
      const auto* key = heap.As<absl::string_view>(key_id);
      if (key != nullptr && !IsExtraState(*key)) visit(*key, value_id);
    }
    return;
  }
  const std::vector<ValueId>* items = nullptr;
  if (const auto* list = heap.As<PickleList>(id)) items = &list->items;
  if (const auto* tuple = heap.As<PickleTuple>(id)) items = &tuple->items;
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    if (i == std::size(kIndices)) break;
    visit(kIndices[i], (*items)[i]);
  }
}

// All dicts below `root`, each once, parents before children.
std::vector<Node> Dicts(const PickleHeap& heap, ValueId root) {
  std::vector<Node> nodes;
  absl::flat_hash_set<ValueId> seen = {root};
  nodes.push_back({root});
  for (size_t at = 0; at < nodes.size(); ++at) {
    const Node parent = nodes[at];
    const auto* dict = heap.As<PickleDict>(parent.dict);
    if (dict != nullptr && IsOptimizer(heap, *dict)) continue;
    bool any = false;
    bool matrix = false;
    ForEachChild(heap, parent.dict, [&](absl::string_view key, ValueId value) {
      const auto* tensor = heap.As<PickleTensorRef>(value);
      if (tensor != nullptr && dict != nullptr) {
        any = true;
        matrix |= IsMatrix(heap.tensor(*tensor));
      } else if (heap.As<PickleDict>(value) != nullptr &&
                 parent.depth < kEntryDepthMax && seen.insert(value).second) {
        nodes.push_back({value, key, static_cast<int>(at), parent.depth + 1});
      }
    });
    nodes[at].any = any;
    nodes[at].matrix = matrix;
  }
  return nodes;
}

// Decides which of the nodes that hold weights are parts of another: sets
// `part_of`, and `dropped` of those that only wrap.
void Settle(std::vector<Node>& nodes, bool Node::*weights) {
  for (Node& node : nodes) {
    if (!(node.*weights)) continue;
    absl::string_view key = node.key;
    int at = node.parent;
    while (at != kNone && !(nodes[static_cast<size_t>(at)].*weights)) {
      key = nodes[static_cast<size_t>(at)].key;
      at = nodes[static_cast<size_t>(at)].parent;
    }
    if (at == kNone) continue;
    if (std::find(std::begin(kWrappers), std::end(kWrappers), key) !=
        std::end(kWrappers)) {
      nodes[static_cast<size_t>(at)].dropped = true;
    } else {
      node.part_of = at;
    }
  }
}

std::string PathOf(const std::vector<Node>& nodes, size_t at) {
  std::string path;
  for (const Node* node = &nodes[at]; node->parent != kNone;
       node = &nodes[static_cast<size_t>(node->parent)]) {
    path = path.empty() ? std::string(node->key)
                        : absl::StrCat(node->key, ".", path);
  }
  return path.empty() ? std::string(kTopLevel) : path;
}

// "a", "b" and 3 more.
std::string Listed(const std::vector<Candidate>& candidates) {
  std::string text;
  for (size_t i = 0; i < candidates.size() && i < kShown; ++i) {
    absl::StrAppend(&text, i == 0 ? "\"" : ", \"",
                    base::Printable(candidates[i].path), "\"");
  }
  if (candidates.size() > kShown) {
    absl::StrAppend(&text, " and ", candidates.size() - kShown, " more");
  }
  return text;
}

// The keys, and of opaque values what they are.
std::string KeyList(const PickleHeap& heap, const PickleDict& dict) {
  std::string keys;
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i == kShown) {
      absl::StrAppend(&keys, " and ", dict.items.size() - i, " more");
      break;
    }
    const auto& [key_id, value_id] = dict.items[i];
    const auto* key = heap.As<absl::string_view>(key_id);
    absl::StrAppend(
        &keys, i == 0 ? "" : ", ",
        key != nullptr ? base::Printable(*key) : KindName(heap.at(key_id)));
    if (heap.As<PickleOpaque>(value_id) != nullptr) {
      absl::StrAppend(&keys, " (", KindName(heap.at(value_id)), ")");
    }
  }
  return keys.empty() ? "none" : keys;
}

absl::Status NoCandidate(const PickleHeap& heap, ValueId root) {
  constexpr absl::string_view kSave =
      "; save tensors only: torch.save(model.state_dict(), path)";
  constexpr absl::string_view kTrusted =
      ", or convert a file that you trust with python -m fff_client.export "
      "--allow-pickle";
  if (heap.As<PickleOpaque>(root) != nullptr) {
    return absl::NotFoundError(absl::StrCat(
        "the top level is a whole object, of ", KindName(heap.at(root)),
        ", which code would have to make (nothing was executed)", kSave,
        kTrusted));
  }
  const auto* dict = heap.As<PickleDict>(root);
  if (dict == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("the top level is ", KindName(heap.at(root)),
                     ", want a state_dict: a dict of names to tensors"));
  }
  const bool opaque = std::any_of(
      dict->items.begin(), dict->items.end(), [&](const auto& item) {
        return heap.As<PickleOpaque>(item.second) != nullptr;
      });
  return absl::NotFoundError(absl::StrCat(
      "no dict of names to tensors is in the file; the keys of the top level "
      "are: ",
      KeyList(heap, *dict), kSave, opaque ? kTrusted : ""));
}

// The values that `path` can name from `root`; none where the keys of the file
// leave more than kReadingsMax ways to go.
std::optional<std::set<ValueId>> Readings(const PickleHeap& heap, ValueId root,
                                          absl::string_view path) {
  std::set<ValueId> found;
  std::set<std::pair<ValueId, size_t>> seen = {{root, 0}};
  std::vector<std::pair<ValueId, size_t>> open = {{root, 0}};
  while (!open.empty()) {
    if (seen.size() > kReadingsMax) return std::nullopt;
    const std::pair<ValueId, size_t> at = open.back();
    open.pop_back();
    const absl::string_view rest = path.substr(at.second);
    std::set<ValueId> whole;
    std::vector<std::pair<ValueId, size_t>> inside;
    ForEachChild(heap, at.first, [&](absl::string_view key, ValueId value) {
      if (key == rest) {
        whole.insert(value);
      } else if (absl::StartsWith(rest, key) && rest[key.size()] == '.') {
        inside.emplace_back(value, at.second + key.size() + 1);
      }
    });
    found.insert(whole.begin(), whole.end());
    if (!whole.empty()) continue;
    for (const auto& next : inside) {
      if (seen.insert(next).second) open.push_back(next);
    }
  }
  return found;
}

absl::StatusOr<ValueId> Named(const PickleHeap& heap, ValueId root,
                              absl::string_view entry) {
  const std::string where =
      absl::StrCat("\"checkpoint_entry\": \"", base::Printable(entry), "\"");
  const std::optional<std::set<ValueId>> readings =
      entry == kTopLevel ? std::set<ValueId>{root}
                         : Readings(heap, root, entry);
  if (!readings.has_value() || readings->size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, " can be read in ", readings.has_value() ? "" : "more than ",
        readings.has_value() ? readings->size() : kReadingsMax,
        " ways: keys of the file hold dots"));
  }
  if (readings->empty()) {
    const std::vector<Candidate> candidates = FindCandidates(heap, root);
    if (candidates.empty()) return NoCandidate(heap, root);
    return absl::InvalidArgumentError(
        absl::StrCat(where, " is not in the file; its dicts of tensors are ",
                     Listed(candidates)));
  }
  const ValueId named = *readings->begin();
  const std::vector<Candidate> inside = FindCandidates(heap, named);
  if (inside.size() == 1) return inside[0].dict;
  if (inside.size() > 1 && heap.As<PickleDict>(named) != nullptr) return named;
  return absl::InvalidArgumentError(absl::StrCat(
      where, " names ", KindName(heap.at(named)),
      ", want a dict of names to tensors",
      inside.empty() ? "" : absl::StrCat("; inside are ", Listed(inside))));
}

}  // namespace

bool IsMatrix(const PickleTensor& tensor) {
  return tensor.view.shape.size() >= 2 ||
         (!tensor.unreadable.empty() && tensor.view.shape.empty());
}

std::vector<Candidate> FindCandidates(const PickleHeap& heap, ValueId root) {
  std::vector<Node> nodes = Dicts(heap, root);
  const bool matrices = std::any_of(
      nodes.begin(), nodes.end(), [](const Node& node) { return node.matrix; });
  const auto weights = matrices ? &Node::matrix : &Node::any;
  Settle(nodes, weights);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    if (!(node.*weights) || node.dropped) continue;
    if (node.part_of != kNone &&
        !nodes[static_cast<size_t>(node.part_of)].dropped) {
      continue;
    }
    candidates.push_back({node.dict, PathOf(nodes, i)});
  }
  return candidates;
}

absl::StatusOr<ValueId> ChooseStateDict(const PickleHeap& heap, ValueId root,
                                        absl::string_view entry) {
  if (!entry.empty()) return Named(heap, root, entry);
  const std::vector<Candidate> candidates = FindCandidates(heap, root);
  if (candidates.empty()) return NoCandidate(heap, root);
  if (candidates.size() == 1) return candidates[0].dict;
  return absl::InvalidArgumentError(absl::StrCat(
      candidates.size(), " dicts could be the weights: ", Listed(candidates),
      "; say which in config.json, for example \"checkpoint_entry\": \"",
      base::Printable(candidates[0].path), "\""));
}

bool IsPart(const PickleHeap& heap, absl::string_view key, ValueId value) {
  const auto* dict = heap.As<PickleDict>(value);
  return dict != nullptr && !IsExtraState(key) && !IsOptimizer(heap, *dict);
}

}  // namespace fff::checkpoint

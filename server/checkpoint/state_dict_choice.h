#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/checkpoint/pickle_value.h"

// Which dict of a training checkpoint is the state_dict.
namespace fff::checkpoint {

// A longer path, and deeper nesting, is not looked at.
inline constexpr size_t kEntryBytesMax = 1024;
inline constexpr int kEntryDepthMax = 16;
// The path of the top level itself.
inline constexpr absl::string_view kTopLevel = ".";

// The dicts that could be the weights, as paths of keys with dots between:
// - They are dicts of dicts (and of the list or tuple that the top level may
//   be), along keys that are str.
// - They hold a tensor of two or more dimensions; every network has one. Only
//   when no dict does, those that hold any tensor. So scores, counters and the
//   states of random numbers are no candidates.
// - An optimiser's state is none (a dict of "state" and "param_groups", from
//   torch.optim.Optimizer.state_dict), nor a module's "_extra_state"
//   (torch.nn.Module.get_extra_state).
// - A dict inside a candidate is a part of it, unless it stands below
//   "state_dict", "model_state_dict", "model" or "module": then that one is
//   meant, and what stands beside it is not.
struct Candidate {
  ValueId dict;
  std::string path;
};
std::vector<Candidate> FindCandidates(const PickleHeap& heap, ValueId root);

// The dict that `entry` names (kTopLevel: the top level), or the only candidate
// when it is empty. In a path a key may hold dots; a key that is the whole path
// goes before others. When the dict named is no candidate itself and has one
// candidate inside, that one is taken; with several inside, all are parts of
// it. NOT_FOUND when there is no candidate, INVALID_ARGUMENT when there are
// several (the message lists them) and when `entry` is not there, can be read
// in two ways or names something else.
absl::StatusOr<ValueId> ChooseStateDict(const PickleHeap& heap, ValueId root,
                                        absl::string_view entry);

// Whether the tensor has two dimensions or more. Of an unreadable one the shape
// may be unknown: it may be a matrix.
bool IsMatrix(const PickleTensor& tensor);

// Whether the dict `value` under `key` of a state_dict may hold parts of it: it
// is no optimiser's state and no module's extra state. Looks at every item.
bool IsPart(const PickleHeap& heap, absl::string_view key, ValueId value);

}  // namespace fff::checkpoint

#include "server/checkpoint/pickle.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/byte_reader.h"
#include "server/checkpoint/pickle_literals.h"
#include "server/checkpoint/pickle_opcodes.h"
#include "server/checkpoint/pickle_stack.h"
#include "server/checkpoint/torch_objects.h"

namespace fff::checkpoint {
namespace {

class Machine {
 public:
  explicit Machine(absl::Span<const std::byte> pickle) : reader_(pickle) {}

  absl::StatusOr<Unpickled> Run();

 private:
  // Each executes one opcode if it is one of its group; the last refuses.
  absl::Status Step(Opcode opcode);
  absl::Status StepMemo(Opcode opcode);
  absl::Status StepContainer(Opcode opcode);
  absl::Status StepObject(Opcode opcode);
  absl::Status Refuse(Opcode opcode);

  absl::Status Push(PickleValue value) {
    return stack_.Push(heap_.Add(std::move(value)));
  }

  template <typename Index>
  absl::Status PutMemo();
  template <typename Index>
  absl::Status GetMemo();
  absl::Status PushTuple(size_t count);
  absl::Status Append(const std::vector<ValueId>& items);
  absl::Status SetItems(const std::vector<ValueId>& items);
  absl::Status PushStackGlobal();
  absl::Status Build();

  ByteReader reader_;
  PickleHeap heap_;
  PickleStack stack_;
  absl::flat_hash_map<uint32_t, ValueId> memo_;
};

absl::StatusOr<Unpickled> Machine::Run() {
  for (size_t count = 0; count < kPickleOpcodesMax; ++count) {
    const size_t position = reader_.position();
    uint8_t byte = 0;
    if (!reader_.Read(&byte)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "pickle byte ", position, ": the pickle ends without STOP"));
    }
    absl::Status status = absl::OkStatus();
    if (static_cast<Opcode>(byte) == Opcode::kStop) {
      absl::StatusOr<ValueId> root = stack_.Pop();
      if (root.ok()) return Unpickled{std::move(heap_), *root};
      status = root.status();
    } else {
      status = Step(static_cast<Opcode>(byte));
    }
    if (!status.ok()) {
      return base::Annotate(status,
                            absl::StrCat("pickle byte ", position, ": opcode ",
                                         OpcodeName(byte)));
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the pickle has more than ", kPickleOpcodesMax, " opcodes"));
}

absl::Status Machine::Step(Opcode opcode) {
  FFF_ASSIGN_OR_RETURN(std::optional<PickleValue> literal,
                       ReadLiteral(opcode, reader_));
  if (literal.has_value()) return Push(*std::move(literal));
  switch (opcode) {
    case Opcode::kProto: {
      uint8_t protocol = 0;
      if (!reader_.Read(&protocol)) return TruncatedPickle();
      if (protocol >= 2 && protocol <= 5) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat(
          "protocol ", protocol, " is not supported, want 2 to 5"));
    }
    case Opcode::kFrame: {  // only says how far to read ahead
      uint64_t bytes = 0;
      return reader_.Read(&bytes) ? absl::OkStatus() : TruncatedPickle();
    }
    case Opcode::kMark:
      return stack_.PushMark();
    case Opcode::kPop:
      return stack_.PopValueOrMark();
    case Opcode::kPopMark:
      return stack_.PopToMark().status();
    case Opcode::kDup: {
      FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
      return stack_.Push(top);
    }
    default:
      return StepMemo(opcode);
  }
}

absl::Status Machine::StepMemo(Opcode opcode) {
  switch (opcode) {
    case Opcode::kBinPut:
      return PutMemo<uint8_t>();
    case Opcode::kLongBinPut:
      return PutMemo<uint32_t>();
    case Opcode::kMemoize: {
      FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
      memo_[static_cast<uint32_t>(memo_.size())] = top;
      return absl::OkStatus();
    }
    case Opcode::kBinGet:
      return GetMemo<uint8_t>();
    case Opcode::kLongBinGet:
      return GetMemo<uint32_t>();
    default:
      return StepContainer(opcode);
  }
}

absl::Status Machine::StepContainer(Opcode opcode) {
  switch (opcode) {
    case Opcode::kTuple1:
      return PushTuple(1);
    case Opcode::kTuple2:
      return PushTuple(2);
    case Opcode::kTuple3:
      return PushTuple(3);
    case Opcode::kTuple: {
      FFF_ASSIGN_OR_RETURN(std::vector<ValueId> items, stack_.PopToMark());
      return Push(PickleTuple{std::move(items)});
    }
    case Opcode::kAppend: {
      FFF_ASSIGN_OR_RETURN(const ValueId item, stack_.Pop());
      return Append({item});
    }
    case Opcode::kAppends: {
      FFF_ASSIGN_OR_RETURN(const std::vector<ValueId> items,
                           stack_.PopToMark());
      return Append(items);
    }
    case Opcode::kSetItem: {
      FFF_ASSIGN_OR_RETURN(const ValueId value, stack_.Pop());
      FFF_ASSIGN_OR_RETURN(const ValueId key, stack_.Pop());
      return SetItems({key, value});
    }
    case Opcode::kSetItems: {
      FFF_ASSIGN_OR_RETURN(const std::vector<ValueId> items,
                           stack_.PopToMark());
      return SetItems(items);
    }
    default:
      return StepObject(opcode);
  }
}

absl::Status Machine::StepObject(Opcode opcode) {
  switch (opcode) {
    case Opcode::kGlobal: {
      absl::string_view module;
      absl::string_view name;
      if (!reader_.ReadLine(&module) || !reader_.ReadLine(&name)) {
        return TruncatedPickle();
      }
      FFF_ASSIGN_OR_RETURN(const PickleGlobal global, FindGlobal(module, name));
      return Push(global);
    }
    case Opcode::kStackGlobal:
      return PushStackGlobal();
    case Opcode::kReduce: {
      FFF_ASSIGN_OR_RETURN(const ValueId arguments, stack_.Pop());
      FFF_ASSIGN_OR_RETURN(const ValueId callable, stack_.Pop());
      FFF_ASSIGN_OR_RETURN(const ValueId result,
                           Call(heap_, callable, arguments));
      return stack_.Push(result);
    }
    case Opcode::kBinPersId: {
      FFF_ASSIGN_OR_RETURN(const ValueId id, stack_.Pop());
      FFF_ASSIGN_OR_RETURN(const PickleStorage storage,
                           LoadPersistentId(heap_, id));
      return Push(storage);
    }
    case Opcode::kBuild:
      return Build();
    default:
      return Refuse(opcode);
  }
}

absl::Status Machine::Refuse(Opcode opcode) {
  absl::string_view module;
  absl::string_view name;
  if (opcode == Opcode::kInst && reader_.ReadLine(&module) &&
      reader_.ReadLine(&name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("not allowed in a checkpoint, here with global ",
                     base::Printable(module), ".", base::Printable(name)));
  }
  return absl::InvalidArgumentError("not allowed in a checkpoint");
}

template <typename Index>
absl::Status Machine::PutMemo() {
  Index index = 0;
  if (!reader_.Read(&index)) return TruncatedPickle();
  FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
  memo_[index] = top;
  return absl::OkStatus();
}

template <typename Index>
absl::Status Machine::GetMemo() {
  Index index = 0;
  if (!reader_.Read(&index)) return TruncatedPickle();
  const auto found = memo_.find(index);
  if (found == memo_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("memo ", index, " was never written"));
  }
  return stack_.Push(found->second);
}

absl::Status Machine::PushTuple(size_t count) {
  FFF_ASSIGN_OR_RETURN(std::vector<ValueId> items, stack_.PopMany(count));
  return Push(PickleTuple{std::move(items)});
}

absl::Status Machine::Append(const std::vector<ValueId>& items) {
  FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
  PickleList* list = heap_.As<PickleList>(top);
  if (list == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("appends to ", KindName(heap_.at(top)), ", want a list"));
  }
  list->items.insert(list->items.end(), items.begin(), items.end());
  return absl::OkStatus();
}

absl::Status Machine::SetItems(const std::vector<ValueId>& items) {
  FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
  PickleDict* dict = heap_.As<PickleDict>(top);
  if (dict == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sets an item of ", KindName(heap_.at(top)), ", want a dict"));
  }
  if (items.size() % 2 != 0) {
    return absl::InvalidArgumentError("a key has no value");
  }
  for (size_t i = 0; i < items.size(); i += 2) {
    dict->items.emplace_back(items[i], items[i + 1]);
  }
  return absl::OkStatus();
}

absl::Status Machine::PushStackGlobal() {
  FFF_ASSIGN_OR_RETURN(const ValueId name_id, stack_.Pop());
  FFF_ASSIGN_OR_RETURN(const ValueId module_id, stack_.Pop());
  const auto* module = heap_.As<absl::string_view>(module_id);
  const auto* name = heap_.As<absl::string_view>(name_id);
  if (module == nullptr || name == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("takes ", KindName(heap_.at(module_id)), " and ",
                     KindName(heap_.at(name_id)), ", want two str"));
  }
  FFF_ASSIGN_OR_RETURN(const PickleGlobal global, FindGlobal(*module, *name));
  return Push(global);
}

// torch gives an OrderedDict the attribute _metadata this way (versions of its
// modules). Attributes are dropped; other objects have none.
absl::Status Machine::Build() {
  FFF_RETURN_IF_ERROR(stack_.Pop().status());
  FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
  if (heap_.As<PickleDict>(top) != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "sets attributes of ", KindName(heap_.at(top)), ", want a dict"));
}

}  // namespace

absl::StatusOr<Unpickled> Unpickle(absl::Span<const std::byte> pickle) {
  if (pickle.size() > kPickleBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the pickle has ", pickle.size(), " bytes, at most ",
                     kPickleBytesMax, " are allowed"));
  }
  return Machine(pickle).Run();
}

}  // namespace fff::checkpoint

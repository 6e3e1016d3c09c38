#include "server/checkpoint/pickle.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/byte_reader.h"
#include "server/checkpoint/pickle_containers.h"
#include "server/checkpoint/pickle_literals.h"
#include "server/checkpoint/pickle_opcodes.h"
#include "server/checkpoint/pickle_stack.h"
#include "server/checkpoint/torch_globals.h"
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
  absl::Status StepMemoLine(Opcode opcode);
  absl::Status StepTuple(Opcode opcode);
  absl::Status StepContainer(Opcode opcode);
  absl::Status StepObject(Opcode opcode);
  absl::Status StepMarkedObject(Opcode opcode);

  absl::Status Push(PickleValue value) {
    return stack_.Push(heap_.Add(std::move(value)));
  }

  template <typename Index>
  absl::StatusOr<uint32_t> MemoIndex();
  absl::Status PutMemo(const absl::StatusOr<uint32_t>& index);
  absl::Status GetMemo(const absl::StatusOr<uint32_t>& index);
  absl::Status PushTuple(size_t count);
  absl::Status PushDict();
  absl::Status PushStackGlobal();
  absl::Status PushCall();
  // Applies `change` to the value below what it takes off the stack.
  using Change = absl::Status (*)(PickleHeap&, ValueId,
                                  const std::vector<ValueId>&);
  absl::Status ChangeTop(const absl::StatusOr<std::vector<ValueId>>& items,
                         Change change);

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
      if (protocol <= 5) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat(
          "protocol ", protocol, " is not supported, want 0 to 5"));
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
      return PutMemo(MemoIndex<uint8_t>());
    case Opcode::kLongBinPut:
      return PutMemo(MemoIndex<uint32_t>());
    case Opcode::kMemoize:
      return PutMemo(static_cast<uint32_t>(memo_.size()));
    case Opcode::kBinGet:
      return GetMemo(MemoIndex<uint8_t>());
    case Opcode::kLongBinGet:
      return GetMemo(MemoIndex<uint32_t>());
    default:
      return StepMemoLine(opcode);
  }
}

// Protocol 0 writes the index as a line.
absl::Status Machine::StepMemoLine(Opcode opcode) {
  if (opcode != Opcode::kPut && opcode != Opcode::kGet) {
    return StepTuple(opcode);
  }
  absl::string_view line;
  uint32_t index = 0;
  if (!reader_.ReadLine(&line)) return TruncatedPickle();
  if (!absl::SimpleAtoi(line, &index)) {
    return absl::InvalidArgumentError("its operand is no index");
  }
  return opcode == Opcode::kPut ? PutMemo(index) : GetMemo(index);
}

absl::Status Machine::StepTuple(Opcode opcode) {
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
    case Opcode::kList: {
      FFF_ASSIGN_OR_RETURN(std::vector<ValueId> items, stack_.PopToMark());
      return Push(PickleList{std::move(items)});
    }
    case Opcode::kDict:
      return PushDict();
    case Opcode::kFrozenSet:
      FFF_RETURN_IF_ERROR(stack_.PopToMark().status());
      return Push(PickleOpaque{"", "frozenset"});
    default:
      return StepContainer(opcode);
  }
}

absl::Status Machine::StepContainer(Opcode opcode) {
  switch (opcode) {
    case Opcode::kAppend:
      return ChangeTop(stack_.PopMany(1), AppendItems);
    case Opcode::kAppends:
      return ChangeTop(stack_.PopToMark(), AppendItems);
    case Opcode::kSetItem:
      return ChangeTop(stack_.PopMany(2), SetItems);
    case Opcode::kSetItems:
      return ChangeTop(stack_.PopToMark(), SetItems);
    case Opcode::kAddItems:
      return ChangeTop(stack_.PopToMark(), AddItems);
    case Opcode::kBuild:
      return ChangeTop(stack_.PopMany(1), SetState);
    case Opcode::kReadOnlyBuffer:
      return stack_.Top().status();
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
      return Push(FindGlobal(module, name));
    }
    case Opcode::kStackGlobal:
      return PushStackGlobal();
    case Opcode::kNewObjEx:  // (class, arguments, arguments by name)
      FFF_RETURN_IF_ERROR(stack_.Pop().status());
      return PushCall();
    case Opcode::kReduce:
    case Opcode::kNewObj:
      return PushCall();
    case Opcode::kBinPersId: {
      FFF_ASSIGN_OR_RETURN(const ValueId id, stack_.Pop());
      FFF_ASSIGN_OR_RETURN(PickleValue storage, LoadPersistentId(heap_, id));
      return Push(std::move(storage));
    }
    default:
      return StepMarkedObject(opcode);
  }
}

// Instances as protocols 0 and 1 write them, with their arguments on a mark.
absl::Status Machine::StepMarkedObject(Opcode opcode) {
  if (opcode == Opcode::kObj) {
    FFF_ASSIGN_OR_RETURN(const std::vector<ValueId> items, stack_.PopToMark());
    if (items.empty()) return absl::InvalidArgumentError("it has no class");
    const ValueId arguments = heap_.Add(
        PickleTuple{std::vector<ValueId>(items.begin() + 1, items.end())});
    FFF_ASSIGN_OR_RETURN(const ValueId made, Call(heap_, items[0], arguments));
    return stack_.Push(made);
  }
  if (opcode == Opcode::kInst) {
    absl::string_view module;
    absl::string_view name;
    if (!reader_.ReadLine(&module) || !reader_.ReadLine(&name)) {
      return TruncatedPickle();
    }
    FFF_RETURN_IF_ERROR(stack_.PopToMark().status());
    return Push(PickleOpaque{module, name});
  }
  return absl::InvalidArgumentError("it is not of pickle's protocols 0 to 5");
}

template <typename Index>
absl::StatusOr<uint32_t> Machine::MemoIndex() {
  Index index = 0;
  if (!reader_.Read(&index)) return TruncatedPickle();
  return uint32_t{index};
}

absl::Status Machine::PutMemo(const absl::StatusOr<uint32_t>& index) {
  FFF_RETURN_IF_ERROR(index.status());
  FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
  memo_[*index] = top;
  return absl::OkStatus();
}

absl::Status Machine::GetMemo(const absl::StatusOr<uint32_t>& index) {
  FFF_RETURN_IF_ERROR(index.status());
  const auto found = memo_.find(*index);
  if (found == memo_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("memo ", *index, " was never written"));
  }
  return stack_.Push(found->second);
}

absl::Status Machine::PushTuple(size_t count) {
  FFF_ASSIGN_OR_RETURN(std::vector<ValueId> items, stack_.PopMany(count));
  return Push(PickleTuple{std::move(items)});
}

absl::Status Machine::PushDict() {
  FFF_ASSIGN_OR_RETURN(const std::vector<ValueId> items, stack_.PopToMark());
  const ValueId dict = heap_.Add(PickleDict());
  FFF_RETURN_IF_ERROR(SetItems(heap_, dict, items));
  return stack_.Push(dict);
}

absl::Status Machine::ChangeTop(
    const absl::StatusOr<std::vector<ValueId>>& items, Change change) {
  FFF_RETURN_IF_ERROR(items.status());
  FFF_ASSIGN_OR_RETURN(const ValueId top, stack_.Top());
  return change(heap_, top, *items);
}

absl::Status Machine::PushCall() {
  FFF_ASSIGN_OR_RETURN(const ValueId arguments, stack_.Pop());
  FFF_ASSIGN_OR_RETURN(const ValueId callable, stack_.Pop());
  FFF_ASSIGN_OR_RETURN(const ValueId made, Call(heap_, callable, arguments));
  return stack_.Push(made);
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
  return Push(FindGlobal(*module, *name));
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

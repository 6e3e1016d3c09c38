#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/unit/checkpoint/packed.h"

// Pieces of pickles, opcode by opcode, for what torch itself never writes.
namespace fff::checkpoint::pickled {

inline const std::string kStart = "\x80\2";
inline const std::string kStop = ".";

inline std::string Text(absl::string_view text) {
  return "X" + Packed(static_cast<uint32_t>(text.size())) + std::string(text);
}
inline std::string Int(int64_t value) {
  return "\x8a\x8" + Packed(value);  // LONG1 of 8 bytes
}
inline std::string Global(absl::string_view module, absl::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string Tuple(const std::string& items) { return "(" + items + "t"; }
inline std::string Dict(const std::string& items) { return "}(" + items + "u"; }
inline std::string EmptyOrderedDict() {
  return Global("collections", "OrderedDict") + ")R";
}

struct TensorSpec {
  std::string storage_type = "FloatStorage";
  std::string key = "0";
  int64_t numel = 6;
  int64_t offset = 0;
  std::string size = Tuple(Int(2) + Int(3));
  std::string strides = Tuple(Int(3) + Int(1));
  std::string rest = "\x89" + EmptyOrderedDict();  // requires_grad, hooks
};

// The persistent id of a storage.
inline std::string Storage(const TensorSpec& spec) {
  return Tuple(Text("storage") + Global("torch", spec.storage_type) +
               Text(spec.key) + Text("cpu") + Int(spec.numel)) +
         "Q";
}
inline std::string Tensor(const TensorSpec& spec = {}) {
  return Global("torch._utils", "_rebuild_tensor_v2") +
         Tuple(Storage(spec) + Int(spec.offset) + spec.size + spec.strides +
               spec.rest) +
         "R";
}

}  // namespace fff::checkpoint::pickled

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/tensor/data_type.h"
#include "server/tensor/shape.h"

namespace fff::checkpoint {

// What may stand around a JSON document (RFC 8259, section 2), and so, as the
// official reader has it, before and after the header's braces.
inline constexpr absl::string_view kJsonBlanks = " \t\n\r";

// What the JSON header says of one tensor. `begin` and `end` are byte offsets
// into the data section that follows the header.
struct SafetensorsEntry {
  std::string name;
  std::string data_type_name;                 // as the file has it
  std::optional<tensor::DataType> data_type;  // none: not one that is read
  // Bits of one element, 0 for a dtype that nobody knows.
  int width_bits = 0;
  tensor::Shape shape;  // of any rank
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  // in file order
  // "__metadata__". safetensors.torch.save_model writes {name: other} there for
  // each of several names of one tensor that it left out.
  std::map<std::string, std::string, std::less<>> metadata;
};

// Parses the JSON header of a safetensors file: an object of tensor name ->
// {"dtype", "shape", "data_offsets"}, and optionally "__metadata__", null or an
// object of strings. Nothing but that form is accepted. INVALID_ARGUMENT for
// text that is not UTF-8 or not JSON, and for any other nesting. Also for a
// name or key that occurs twice, for missing and unknown keys, and for a
// dimension or offset out of range. Any dtype is accepted. The caller checks
// that offsets fit the data.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view json);

}  // namespace fff::checkpoint

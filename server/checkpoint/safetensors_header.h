#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/tensor/data_type.h"
#include "server/tensor/shape.h"

namespace fff::checkpoint {

// What the JSON header says of one tensor. `begin` and `end` are byte offsets
// into the data section that follows the header.
struct SafetensorsEntry {
  std::string name;
  tensor::DataType data_type = tensor::DataType::kF32;
  tensor::Shape shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// Parses the JSON header of a safetensors file: an object of tensor name ->
// {"dtype", "shape", "data_offsets"}, and optionally "__metadata__", an object
// of strings that is checked and dropped. In file order. Nothing but that form
// is accepted: INVALID_ARGUMENT for text that is not UTF-8 or not JSON, for any
// other nesting, for a name or key that occurs twice, for missing and unknown
// keys, and for a dtype, dimension or offset out of range. Whether offsets fit
// the data is the caller's to check.
absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(
    absl::string_view json);

}  // namespace fff::checkpoint

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cli/formats/npy_header.h"

// NumPy's .npy files, untrusted bytes.
namespace fff::cli {

// 1 GiB as FP32, as much as a file may hold.
inline constexpr int64_t kNpyElementsMax = int64_t{1} << 28;

struct NpyArray {
  NpyType type;
  bool fortran_order = false;
  std::vector<int64_t> shape;
  absl::string_view data;  // exactly elements x width; points into the file
  int64_t elements() const;
};

// INVALID_ARGUMENT says what was wrong, got and wanted: what ParseNpyHeader
// refuses, a shape that does not fit the bytes, above kNpyElementsMax elements.
absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes);

// Elements in C order, whatever their order in the file. Numbers are rounded to
// the nearest float as array.astype(float32) does, True is 1. INVALID_ARGUMENT
// names the element whose finite value is beyond FP32.
absl::StatusOr<std::vector<float>> NpyFloats(const NpyArray& array);

// Elements in C order, without loss. INVALID_ARGUMENT for floats, and names the
// element that is beyond INT64.
absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyArray& array);

// A version 1 file of float32 in C order; product(shape) values, rank 2 and up.
std::string WriteNpy(absl::Span<const float> values,
                     const std::vector<int64_t>& shape);

}  // namespace fff::cli

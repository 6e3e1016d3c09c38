#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// NumPy's .npy files (numpy.lib.format, versions 1 to 3), untrusted bytes.
namespace fff::cli {

inline constexpr int kNpyRankMax = 8;

struct NpyArray {
  std::string descr;  // "<f4"
  std::vector<int64_t> shape;
  absl::string_view data;  // exactly elements x width; points into the file
  int64_t elements() const;
};

// Whether the bytes start like a .npy file.
bool IsNpy(absl::string_view bytes);

// INVALID_ARGUMENT says what was wrong, got and wanted: a header that is cut,
// too long or not understood, Fortran order, big-endian or unsupported element
// types, a shape that does not fit the bytes.
absl::StatusOr<NpyArray> ParseNpy(absl::string_view bytes);

// Elements as floats (f2, f4, f8, u1) or integers (u1, i1, i2, i4, i8, u2, u4).
// INVALID_ARGUMENT for other element types.
absl::StatusOr<std::vector<float>> NpyFloats(const NpyArray& array);
absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyArray& array);

// A version 1 file of float32 in C order; product(shape) values, rank 2 and up.
std::string WriteNpy(absl::Span<const float> values,
                     const std::vector<int64_t>& shape);

}  // namespace fff::cli

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// The start of NumPy's .npy files (numpy.lib.format), untrusted bytes.
namespace fff::cli {

inline constexpr int kNpyRankMax = 8;
inline constexpr size_t kNpyHeaderBytesMax = 1 << 16;
// Whatever a header says stands within so many bytes of the file's start.
inline constexpr size_t kNpyPrefixBytesMax = 12 + kNpyHeaderBytesMax;

// How one element is stored.
struct NpyType {
  char kind = 'f';  // 'b' bool, 'i' signed, 'u' unsigned, 'f' float
  int64_t width = 4;
  bool big_endian = false;

  std::string name() const;  // "float32", "bool"
};

struct NpyHeader {
  NpyType type;
  bool fortran_order = false;  // the first index runs fastest
  std::vector<int64_t> shape;
  size_t bytes = 0;  // from the file's start to the elements
};

// Whether the bytes start like a .npy file.
bool IsNpy(absl::string_view bytes);

// Format versions 1.0, 2.0 and 3.0. INVALID_ARGUMENT says what was wrong, got
// and wanted: a header that is cut, too long or not understood, more than
// kNpyRankMax dimensions, elements that are no bool, integer or float of at
// most 8 bytes.
absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view bytes);

}  // namespace fff::cli

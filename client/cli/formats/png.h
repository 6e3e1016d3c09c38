#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fff::cli {

inline constexpr int64_t kPngPixelsMax = int64_t{1} << 26;

// One picture in 8-bit grey, row by row from the top.
struct GreyImage {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels;  // [height, width]
};

// Whether the bytes start like a PNG file.
bool IsPng(absl::string_view bytes);

// Decodes with libpng; colour becomes luminance, transparency is laid on black.
// INVALID_ARGUMENT for damaged files and more than kPngPixelsMax pixels.
absl::StatusOr<GreyImage> DecodePng(absl::string_view bytes);

}  // namespace fff::cli

#include "client/cli/formats/png.h"

#include <png.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fff::cli {
namespace {

constexpr absl::string_view kSignature("\x89PNG\r\n\x1a\n", 8);

// Frees what libpng allocated, on every way out.
struct Image {
  png_image png{};
  Image() { png.version = PNG_IMAGE_VERSION; }
  ~Image() { png_image_free(&png); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
};

absl::Status Damaged(const png_image& png) {
  return absl::InvalidArgumentError(
      absl::StrCat("PNG cannot be decoded: ", png.message));
}

}  // namespace

bool IsPng(absl::string_view bytes) {
  return absl::StartsWith(bytes, kSignature);
}

absl::StatusOr<GreyImage> DecodePng(absl::string_view bytes) {
  Image image;
  png_image& png = image.png;
  if (png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()) == 0) {
    return Damaged(png);
  }
  GreyImage grey;
  grey.width = png.width;
  grey.height = png.height;
  if (grey.width < 1 || grey.height < 1 ||
      grey.height > kPngPixelsMax / grey.width) {
    return absl::InvalidArgumentError(
        absl::StrCat("PNG of ", grey.width, "x", grey.height,
                     " pixels, wanted 1 to ", kPngPixelsMax));
  }
  png.format = PNG_FORMAT_GRAY;
  grey.pixels.resize(PNG_IMAGE_SIZE(png));
  const png_color black{0, 0, 0};
  if (png_image_finish_read(&png, &black, grey.pixels.data(), 0, nullptr) ==
      0) {
    return Damaged(png);
  }
  // libpng reports data that ends early or fails its checksum as a warning.
  if ((png.warning_or_error & PNG_IMAGE_ERROR) != 0) return Damaged(png);
  return grey;
}

}  // namespace fff::cli

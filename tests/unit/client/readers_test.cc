#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <zlib.h>

#include <cstring>
#include <string>
#include <vector>

#include "client/cli/formats/idx.h"
#include "client/cli/formats/png.h"
#include "client/cli/rows/read_file.h"

namespace fff::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// --- IDX

std::string Idx(const std::vector<uint32_t>& shape, size_t bytes,
                char type = 8) {
  std::string file = {'\0', '\0', type, static_cast<char>(shape.size())};
  for (const uint32_t size : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      file += static_cast<char>(size >> shift & 0xFF);
    }
  }
  for (size_t i = 0; i < bytes; ++i) file += static_cast<char>(i & 0xFF);
  return file;
}

TEST(IdxTest, ReadsShapeAndBytes) {
  const std::string file = Idx({2, 3, 2}, 12);
  ASSERT_TRUE(IsIdx(file));
  const auto array = ParseIdx(file);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(2, 3, 2));
  EXPECT_EQ(array->data.size(), 12U);
  EXPECT_EQ(array->data[11], 11);
}

TEST(IdxTest, TooFewAndTooManyBytesAreErrors) {
  EXPECT_EQ(ParseIdx(Idx({2, 3}, 5)).status().code(), kInvalid);
  EXPECT_EQ(ParseIdx(Idx({2, 3}, 7)).status().code(), kInvalid);
}

TEST(IdxTest, SizesThatOverflowAreErrors) {
  const uint32_t huge = 0xFFFFFFFF;
  EXPECT_EQ(ParseIdx(Idx({huge, huge, huge, huge}, 16)).status().code(),
            kInvalid);
  EXPECT_EQ(ParseIdx(Idx({0, huge}, 0)).status().code(), kInvalid);
  EXPECT_EQ(ParseIdx(Idx({huge, 0}, 4)).status().code(), kInvalid);
}

TEST(IdxTest, OtherElementTypesAndRanksAreErrors) {
  const auto floats = ParseIdx(Idx({1}, 4, 0x0D));
  EXPECT_EQ(floats.status().code(), kInvalid);
  EXPECT_THAT(floats.status().message(), HasSubstr("got 13, wanted 8"));
  EXPECT_EQ(ParseIdx(Idx({}, 0)).status().code(), kInvalid);
  EXPECT_EQ(ParseIdx(Idx(std::vector<uint32_t>(9, 1), 1)).status().code(),
            kInvalid);
}

TEST(IdxTest, EveryCutOfAFileIsAnError) {
  const std::string file = Idx({2, 3}, 6);
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_FALSE(ParseIdx(file.substr(0, length)).ok()) << length;
  }
}

// --- PNG

std::string Png(uint32_t width, uint32_t height, uint32_t format,
                const std::vector<uint8_t>& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = format;
  png_alloc_size_t size = 0;
  EXPECT_NE(png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(),
                                      0, nullptr),
            0);
  std::string file(size, '\0');
  EXPECT_NE(png_image_write_to_memory(&image, file.data(), &size, 0,
                                      pixels.data(), 0, nullptr),
            0);
  return file;
}

TEST(PngTest, DecodesGreyPixelsAsTheyAre) {
  const std::string file =
      Png(3, 2, PNG_FORMAT_GRAY, {0, 1, 127, 128, 200, 255});
  ASSERT_TRUE(IsPng(file));
  const auto image = DecodePng(file);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->width, 3);
  EXPECT_EQ(image->height, 2);
  EXPECT_THAT(image->pixels, ElementsAre(0, 1, 127, 128, 200, 255));
}

TEST(PngTest, ColourBecomesLuminanceAndTransparencyBlack) {
  const auto white = DecodePng(Png(1, 1, PNG_FORMAT_RGB, {255, 255, 255}));
  ASSERT_TRUE(white.ok()) << white.status();
  EXPECT_THAT(white->pixels, ElementsAre(255));
  const auto clear = DecodePng(Png(1, 1, PNG_FORMAT_GA, {255, 0}));
  ASSERT_TRUE(clear.ok()) << clear.status();
  EXPECT_THAT(clear->pixels, ElementsAre(0));
}

TEST(PngTest, EveryCutBeforeTheEndChunkIsAnError) {
  const std::string file =
      Png(3, 2, PNG_FORMAT_GRAY, {0, 1, 127, 128, 200, 255});
  // The last chunk, IEND, is 12 bytes and holds no pixels.
  for (size_t length = 0; length + 12 < file.size(); ++length) {
    EXPECT_FALSE(DecodePng(file.substr(0, length)).ok()) << length;
  }
}

TEST(PngTest, DamagedPixelsAreAnError) {
  std::string file = Png(3, 2, PNG_FORMAT_GRAY, {0, 1, 127, 128, 200, 255});
  file[file.find("IDAT") + 6] ^= 0x5A;
  const auto image = DecodePng(file);
  EXPECT_EQ(image.status().code(), kInvalid);
}

TEST(PngTest, HugeSizesAreRefusedBeforeMemoryIsTaken) {
  std::string file = Png(1, 1, PNG_FORMAT_GRAY, {0});
  // Width and height stand at bytes 16 and 20; the header's checksum follows.
  for (const size_t at : {16U, 20U}) file[at + 1] = '\x0F';
  const auto checksum =
      crc32(0, reinterpret_cast<const Bytef*>(file.data()) + 12, 17);
  for (size_t i = 0; i < 4; ++i) {
    file[29 + i] = static_cast<char>(checksum >> (24 - 8 * i) & 0xFF);
  }
  EXPECT_EQ(DecodePng(file).status().code(), kInvalid);
}

// --- gzip and files

std::string Gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(
      deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
      Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  std::string in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST(GunzipTest, UnpacksAndLeavesOtherBytesAlone) {
  EXPECT_EQ(*Gunzip(Gzip("hello"), 100), "hello");
  EXPECT_EQ(*Gunzip(Gzip("hello ") + Gzip("again"), 100), "hello again");
  EXPECT_EQ(*Gunzip("plain", 100), "plain");
  EXPECT_EQ(*Gunzip("", 100), "");
}

TEST(GunzipTest, StopsAtTheBound) {
  const std::string bomb = Gzip(std::string(1 << 22, '\0'));
  ASSERT_LT(bomb.size(), 1U << 14);
  const auto bytes = Gunzip(bomb, 1 << 20);
  EXPECT_EQ(bytes.status().code(), kInvalid);
  EXPECT_THAT(bytes.status().message(), HasSubstr("larger than 1048576"));
}

TEST(GunzipTest, EveryCutIsAnError) {
  const std::string file = Gzip("hello hello hello");
  for (size_t length = 2; length < file.size(); ++length) {
    EXPECT_FALSE(Gunzip(file.substr(0, length), 100).ok()) << length;
  }
}

TEST(ReadFileTest, NamesThePathItCannotRead) {
  const auto missing = ReadFile("/nonexistent/rows.npy");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("/nonexistent/rows.npy"));
  EXPECT_EQ(ReadFile("/").status().code(), kInvalid);
  EXPECT_EQ(WriteFile("/nonexistent/out.npy", "x").code(),
            absl::StatusCode::kNotFound);
}

TEST(ReadFileTest, ReadsWhatWasWritten) {
  const std::string path = ::testing::TempDir() + "/read_file_test";
  const std::string contents("a\0b", 3);
  ASSERT_TRUE(WriteFile(path, contents).ok());
  EXPECT_EQ(*ReadFile(path), contents);
}

}  // namespace
}  // namespace fff::cli

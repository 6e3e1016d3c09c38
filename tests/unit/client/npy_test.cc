#include "client/cli/formats/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/rows/input_file.h"

namespace fff::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

template <class T>
std::string Bytes(std::vector<T> values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size() * sizeof(T));
}

std::string Npy(const std::string& header, const std::string& data,
                char version = 1) {
  std::string file("\x93NUMPY", 6);
  file += version;
  file += '\0';
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8 & 0xFF);
  if (version > 1) file += std::string(2, '\0');
  return file + header + data;
}

std::string Header(const std::string& descr, const std::string& shape,
                   const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order +
         ", 'shape': " + shape + ", }          \n";
}

std::string ErrorOf(const std::string& file) {
  const auto array = ParseNpy(file);
  EXPECT_EQ(array.status().code(), kInvalid);
  return std::string(array.status().message());
}

TEST(NpyTest, ReadsFloatsOfEveryWidthAndBytes) {
  const auto read = [](const std::string& descr, const std::string& data) {
    const std::string file = Npy(Header(descr, "(2, 1)"), data);
    const auto array = ParseNpy(file);
    EXPECT_TRUE(array.ok()) << array.status();
    EXPECT_THAT(array->shape, ElementsAre(2, 1));
    return *NpyFloats(*array);
  };
  EXPECT_THAT(read("<f2", Bytes<uint16_t>({0x3E00, 0xC000})),
              ElementsAre(1.5F, -2));
  EXPECT_THAT(read("<f4", Bytes<float>({1.5F, -2})), ElementsAre(1.5F, -2));
  EXPECT_THAT(read("<f8", Bytes<double>({1.5, -2})), ElementsAre(1.5F, -2));
  EXPECT_THAT(read("|u1", Bytes<uint8_t>({7, 255})), ElementsAre(7, 255));
}

TEST(NpyTest, ReadsIntegersWithoutLoss) {
  const std::string file =
      Npy(Header("<i8", "(3,)"), Bytes<int64_t>({3, 0, -1}), 2);
  const auto array = ParseNpy(file);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(*NpyIntegers(*array), ElementsAre(3, 0, -1));
  EXPECT_THAT(*NpyFloats(*array), ElementsAre(3, 0, -1));
}

template <class T>
std::vector<int64_t> Integers(const std::string& descr, std::vector<T> values) {
  const std::string file =
      Npy(Header(descr, absl::StrCat("(", values.size(), ",)")), Bytes(values));
  const auto array = ParseNpy(file);
  EXPECT_TRUE(array.ok()) << array.status();
  return *NpyIntegers(*array);
}

TEST(NpyTest, ReadsEveryIntegerTypeToItsBounds) {
  EXPECT_THAT(Integers<uint8_t>("|b1", {0, 1}), ElementsAre(0, 1));
  EXPECT_THAT(Integers<int8_t>("|i1", {-128, 127}), ElementsAre(-128, 127));
  EXPECT_THAT(Integers<uint8_t>("|u1", {255}), ElementsAre(255));
  EXPECT_THAT(Integers<int16_t>("<i2", {-32768}), ElementsAre(-32768));
  EXPECT_THAT(Integers<uint16_t>("<u2", {65535}), ElementsAre(65535));
  EXPECT_THAT(Integers<int32_t>("<i4", {INT32_MIN}), ElementsAre(INT32_MIN));
  EXPECT_THAT(Integers<uint32_t>("<u4", {UINT32_MAX}), ElementsAre(UINT32_MAX));
  EXPECT_THAT(Integers<int64_t>("<i8", {INT64_MIN, INT64_MAX}),
              ElementsAre(INT64_MIN, INT64_MAX));
  EXPECT_THAT(Integers<uint64_t>("<u8", {INT64_MAX}), ElementsAre(INT64_MAX));
  EXPECT_THAT(Integers<int64_t>("=i8", {5}), ElementsAre(5));
  EXPECT_THAT(Integers<uint8_t>("<u1", {9}), ElementsAre(9));
}

TEST(NpyTest, NumbersBeyondTheWantedTypeNameTheElement) {
  const std::string large =
      Npy(Header("<u8", "(2, 1)"), Bytes<uint64_t>({1, UINT64_MAX}));
  EXPECT_EQ(NpyIntegers(*ParseNpy(large)).status().message(),
            ".npy element [1, 0]: got 18446744073709551615, wanted at most "
            "9223372036854775807");
  EXPECT_THAT(*NpyFloats(*ParseNpy(large)), ElementsAre(1, 0x1p64F));
  const std::string huge =
      Npy(Header("<f8", "(1, 3)"), Bytes<double>({1, INFINITY, -1e300}));
  EXPECT_EQ(NpyFloats(*ParseNpy(huge)).status().message(),
            ".npy element [0, 2]: got -1e+300, wanted a number within FP32 "
            "(3.4e38)");
  const std::string edge = Npy(Header("<f8", "(3,)"),
                               Bytes<double>({3.4028235e38, INFINITY, 1e-99}));
  EXPECT_THAT(*NpyFloats(*ParseNpy(edge)), ElementsAre(FLT_MAX, INFINITY, 0));
}

TEST(NpyTest, IntegersBecomeTheNearestFloat) {
  const std::string file =
      Npy(Header("<i4", "(2,)"), Bytes<int32_t>({16777217, -3}));
  EXPECT_THAT(*NpyFloats(*ParseNpy(file)), ElementsAre(16777216, -3));
}

TEST(NpyTest, FloatsAreNoIntegers) {
  const std::string file = Npy(Header("<f4", "(1,)"), Bytes<float>({2}));
  EXPECT_THAT(
      NpyIntegers(*ParseNpy(file)).status().message(),
      AllOf(HasSubstr("got float32"), HasSubstr("wanted an integer type")));
}

TEST(NpyTest, FortranOrderGivesTheSameRows) {
  // [[0, 1, 2], [3, 4, 5]], columns first.
  const std::string file =
      Npy(Header("<f4", "(2, 3)", "True"), Bytes<float>({0, 3, 1, 4, 2, 5}));
  EXPECT_THAT(*NpyFloats(*ParseNpy(file)), ElementsAre(0, 1, 2, 3, 4, 5));
  // Element [i, j, k] of (2, 1, 3) stands at i + 2 k.
  const std::string cube = Npy(Header("<i2", "(2, 1, 3)", "True"),
                               Bytes<int16_t>({0, 3, 1, 4, 2, 5}));
  EXPECT_THAT(*NpyIntegers(*ParseNpy(cube)), ElementsAre(0, 1, 2, 3, 4, 5));
  const std::string line =
      Npy(Header("<f4", "(2,)", "True"), Bytes<float>({1, 2}));
  EXPECT_THAT(*NpyFloats(*ParseNpy(line)), ElementsAre(1, 2));
  const std::string none =
      Npy(Header("<f4", "(4611686018427387904, 8, 0)", "True"), std::string());
  EXPECT_THAT(*NpyFloats(*ParseNpy(none)), ElementsAre());
}

TEST(NpyTest, BigEndianElementsAreTurned) {
  const auto floats = [](const std::string& descr, const std::string& data) {
    const std::string file = Npy(Header(descr, "(1,)"), data);
    return (*NpyFloats(*ParseNpy(file)))[0];
  };
  EXPECT_EQ(floats(">f4", std::string("\x3F\xC0\0\0", 4)), 1.5F);
  EXPECT_EQ(floats(">f2", std::string("\x3E\0", 2)), 1.5F);
  EXPECT_EQ(floats(">f8", std::string("\x3F\xF8\0\0\0\0\0\0", 8)), 1.5F);
  EXPECT_EQ(floats(">u2", std::string("\x01\x02", 2)), 258);
  const std::string file =
      Npy(Header(">i4", "(1,)"), std::string("\xFF\xFF\xFF\xFE", 4));
  EXPECT_THAT(*NpyIntegers(*ParseNpy(file)), ElementsAre(-2));
}

TEST(NpyTest, ScalarsAndEmptyArraysParse) {
  const std::string scalar = Npy(Header("<f4", "()"), Bytes<float>({4}));
  EXPECT_EQ(ParseNpy(scalar)->elements(), 1);
  const std::string empty = Npy(Header("<f4", "(0, 3)"), "");
  EXPECT_EQ(ParseNpy(empty)->elements(), 0);
}

TEST(NpyTest, ForeignTypesSayWhatTheyAre) {
  const std::string data = Bytes<float>({1, 2});
  for (const auto& [descr, meaning] :
       std::vector<std::pair<std::string, std::string>>{
           {"|O", "Python objects"},
           {"<c8", "complex numbers"},
           {"<U5", "text"},
           {"|S3", "text"},
           {"<M8[ns]", "dates"},
           {"<m8[s]", "spans of time"},
           {"|V2", "bfloat16"},
           {"<f16", "another precision"}}) {
    EXPECT_THAT(ErrorOf(Npy(Header(descr, "(2,)"), data)),
                AllOf(HasSubstr("got '" + descr + "', "), HasSubstr(meaning),
                      HasSubstr("wanted bool, integers")));
  }
  EXPECT_THAT(ErrorOf(Npy("{'descr': [('a', '<f4'), ('b', '<i8')], "
                          "'fortran_order': False, 'shape': (2,), }",
                          data)),
              HasSubstr("got '[('a', '<f4'), ('b', '<i8')', records"));
  for (const std::string descr : {"", "<", "<f", "<f3", "<i16", "|b2", "x4"}) {
    EXPECT_THAT(ErrorOf(Npy(Header(descr, "(2,)"), data)),
                HasSubstr("got '" + descr + "'"));
  }
}

TEST(NpyTest, MessagesLeaveOutThePaddingOfTheHeader) {
  EXPECT_EQ(ErrorOf(Npy("{'descr': '<f4', 'fortran_order': Maybe, }" +
                            std::string(80, ' ') + "\n",
                        "")),
            ".npy header: got 'Maybe, }', wanted fortran_order True or False");
}

TEST(NpyTest, TakesEveryVersionAndSpelling) {
  const std::string data = Bytes<float>({1, 2});
  for (const char version : {'\1', '\2', '\3'}) {
    EXPECT_TRUE(ParseNpy(Npy(Header("<f4", "(2,)"), data, version)).ok());
  }
  const std::string spelled = Npy(
      "{\"shape\":(1L,2L),\"fortran_order\" :False,\r\n 'descr':'<f4'}", data);
  EXPECT_THAT(ParseNpy(spelled)->shape, ElementsAre(1, 2));
  std::string minor = Npy(Header("<f4", "(2,)"), data);
  minor[7] = '\x01';
  EXPECT_THAT(ErrorOf(minor), HasSubstr("got 1.1, wanted 1.0, 2.0 or 3.0"));
}

TEST(NpyTest, MoreElementsThanTheBoundAreAnError) {
  const std::string file = Npy(Header("|u1", "(268435457,)"),
                               std::string((size_t{1} << 28) + 1, '\0'));
  EXPECT_THAT(ErrorOf(file), HasSubstr("wanted at most 268435456"));
}

TEST(NpyTest, ShapesThatDoNotFitTheBytesAreErrors) {
  const std::string data = Bytes<float>({1, 2});
  EXPECT_THAT(ErrorOf(Npy(Header("<f4", "(3,)"), data)),
              HasSubstr("got 8 bytes"));
  ErrorOf(Npy(Header("<f4", "(1,)"), data));
  ErrorOf(Npy(Header("<f4", "(2,)"), data + "x"));
  ErrorOf(
      Npy(Header("<f4", "(4611686018427387904, 4611686018427387904)"), data));
  ErrorOf(Npy(Header("<f4", "(4611686018427387904, 8)"), ""));
  ErrorOf(Npy(Header("<f4", "(4611686018427387904, 8, 0)"), data));
  ErrorOf(Npy(Header("<f4", "(99999999999999999999,)"), data));
  ErrorOf(Npy(Header("<f4", "(-2,)"), data));
  ErrorOf(Npy(Header("<f4", "(1,1,1,1,1,1,1,1,2)"), data));
}

TEST(NpyTest, HeadersThatLieOrRepeatAreErrors) {
  const std::string data = Bytes<float>({1, 2});
  ErrorOf(Npy("{'descr': '<f4', 'descr': '<f4', 'shape': (2,), }", data));
  ErrorOf(Npy("{'descr': '<f4', 'shape': (2,), }", data));
  ErrorOf(Npy("{'other': 1, }", data));
  ErrorOf(Npy("", data));
  ErrorOf(Npy(Header("<f4", "(2,)") + "more", data));
  ErrorOf(Npy(Header("<f4", "(2,)"), data, 4));
  std::string long_header = Npy(Header("<f4", "(2,)"), data);
  long_header[8] = '\xFF';
  long_header[9] = '\xFF';
  EXPECT_THAT(ErrorOf(long_header), HasSubstr("65535"));
}

TEST(NpyTest, EveryCutOfAFileIsAnError) {
  const std::string file = Npy(Header("<f4", "(2,)"), Bytes<float>({1, 2}));
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_FALSE(ParseNpy(file.substr(0, length)).ok()) << length;
  }
}

TEST(NpyTest, WrittenFilesReadBackAlignedTo64Bytes) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::string file = WriteNpy(values, {2, 1, 3});
  const auto array = ParseNpy(file);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(2, 1, 3));
  EXPECT_EQ(*NpyFloats(*array), values);
  EXPECT_EQ((file.size() - values.size() * sizeof(float)) % 64, 0U);
}

// --- files of any format as rows

TEST(InputTest, FirstDimensionIsRowsAndTheRestOneRow) {
  const std::string file =
      Npy(Header("<f4", "(2, 1, 2)"), Bytes<float>({1, 2, 3, 4}));
  const auto input = ParseInput(file);
  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_THAT(input->widths, ElementsAre(2, 2));
  EXPECT_FALSE(input->is_image);
}

TEST(InputTest, OneDimensionIsOneRow) {
  const auto input =
      ParseInput(Npy(Header("<f4", "(3,)"), Bytes<float>({1, 2, 3})));
  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_THAT(input->widths, ElementsAre(3));
}

TEST(InputTest, EmptyArraysAreErrors) {
  const auto input = ParseInput(Npy(Header("<f4", "(0, 3)"), ""));
  EXPECT_EQ(input.status().code(), kInvalid);
  EXPECT_THAT(input.status().message(), HasSubstr("(0, 3)"));
}

TEST(InputTest, IdxImagesAreFlattenedAndMarked) {
  const std::string file(
      "\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02"
      "\x00\x01\x80\xFF",
      20);
  const auto input = ParseInput(file);
  ASSERT_TRUE(input.ok()) << input.status();
  EXPECT_TRUE(input->is_image);
  EXPECT_THAT(input->widths, ElementsAre(2, 2));
  EXPECT_THAT(input->values, ElementsAre(0, 1, 128, 255));
}

TEST(InputTest, AnythingElseIsReadAsCsv) {
  EXPECT_THAT(ParseInput("1,2,3\n")->widths, ElementsAre(3));
  EXPECT_EQ(ParseInput("PK\x03\x04...").status().code(), kInvalid);
}

TEST(TruthTest, ReadsAllThreeFormatsAndKeepsAsManyAsRows) {
  const std::string idx("\0\0\x08\x01\0\0\0\x03\x05\x06\x07", 11);
  EXPECT_THAT(*ParseTruth(idx, {2, true}), ElementsAre(5, 6));
  EXPECT_THAT(*ParseTruth(Npy(Header("<i4", "(2,)"), Bytes<int32_t>({1, 9})),
                          {2, false}),
              ElementsAre(1, 9));
  EXPECT_THAT(*ParseTruth("label\n4\n2\n", {2, false}), ElementsAre(4, 2));
}

TEST(TruthTest, TooFewFractionsAndImagesAreErrors) {
  EXPECT_THAT(ParseTruth("1\n2\n", {3, true}).status().message(),
              HasSubstr("got 2 labels, wanted one for each of 3 rows"));
  EXPECT_EQ(ParseTruth("1.5\n", {1, false}).status().code(), kInvalid);
  EXPECT_EQ(ParseTruth("1e300\n", {1, false}).status().code(), kInvalid);
  const std::string images("\0\0\x08\x02\0\0\0\x01\0\0\0\x01\x05", 13);
  EXPECT_EQ(ParseTruth(images, {1, false}).status().code(), kInvalid);
}

// A label per row: a title that counts as one, or a table of scores, would give
// an accuracy of something else.
TEST(TruthTest, MoreLabelsThanRowsAndTablesAreErrors) {
  EXPECT_THAT(ParseTruth("0\n2\n0\n", {2, false}).status().message(),
              HasSubstr("got 3 labels, wanted one for each of 2 rows"));
  EXPECT_THAT(*ParseTruth("0\n2\n0\n", {2, true}), ElementsAre(0, 2));
  EXPECT_THAT(*ParseTruth("4 2\n", {2, false}), ElementsAre(4, 2));
  EXPECT_THAT(ParseTruth("1,0\n0,1\n", {4, false}).status().message(),
              HasSubstr("got 4 numbers in 2 lines"));
  EXPECT_THAT(*ParseTruth("0,1\n2,3\n", {4, false, true}),
              ElementsAre(0, 1, 2, 3))
      << "a line per row, of tokens";
  const std::string table =
      Npy(Header("<i4", "(2, 2)"), Bytes<int32_t>({2, 0, 0, 1}));
  EXPECT_THAT(ParseTruth(table, {4, false}).status().message(),
              HasSubstr("got an array of shape [2, 2], wanted labels"));
  const std::string column =
      Npy(Header("<i4", "(2, 1)"), Bytes<int32_t>({2, 0}));
  EXPECT_THAT(*ParseTruth(column, {2, false}), ElementsAre(2, 0));
}

TEST(NormalizationTest, AppliesToPixelsOver255) {
  const auto normalization = ParseNormalization("0.5,0.25");
  ASSERT_TRUE(normalization.ok()) << normalization.status();
  std::vector<float> values = {0, 255};
  Normalize(*normalization, absl::MakeSpan(values));
  EXPECT_THAT(values, ElementsAre(-2, 2));
}

TEST(NormalizationTest, NonsenseIsRefused) {
  for (const char* text :
       {"", "1", "1,2,3", "a,b", "0,0", "0,-1", "nan,1", "0,inf"}) {
    EXPECT_EQ(ParseNormalization(text).status().code(), kInvalid) << text;
  }
}

}  // namespace
}  // namespace fff::cli

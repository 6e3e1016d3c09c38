#include "server/checkpoint/safetensors.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/safetensors_header.h"
#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

using tensor::DataType;
using tensor::Shape;

std::string File(const std::string& header, const std::string& data = "") {
  return Packed(static_cast<uint64_t>(header.size())) + header + data;
}

// A header of one tensor "w".
std::string One(const std::string& data_type, const std::string& shape,
                const std::string& offsets) {
  return absl::StrCat(R"({"w":{"dtype":")", data_type, R"(","shape":)", shape,
                      R"(,"data_offsets":)", offsets, "}}");
}

void ExpectRefused(const std::string& file, absl::string_view part) {
  const absl::StatusOr<Checkpoint> result = ParseText(file);
  ExpectInvalid(result, part);
  EXPECT_THAT(std::string(result.status().message()),
              testing::StartsWith("file: "));
}

TEST(SafetensorsTest, ReadsTensorsInPlace) {
  const std::string file =
      File(R"({"__metadata__":{"format":"pt"},)"
           R"("b":{"dtype":"I64","shape":[],"data_offsets":[8,16]},)"
           R"("a.weight":{"shape":[2,1],"data_offsets":[0,8],"dtype":"F32"}})"
           "   ",
           Packed(1.5f, -2.0f, int64_t{7}));
  const absl::StatusOr<Checkpoint> checkpoint =
      ParseCheckpoint("file", AsBytes(file), nullptr);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->format(), "safetensors");
  EXPECT_EQ(checkpoint->source(), "file");
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  const NamedTensor* a = checkpoint->Find("a.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, (Shape{2, 1}));
  EXPECT_EQ(static_cast<const void*>(a->bytes.data()),
            file.data() + file.size() - 16);
  EXPECT_EQ(Elements<float>(*checkpoint, "a.weight", DataType::kF32),
            (std::vector<float>{1.5f, -2.0f}));
  EXPECT_TRUE(checkpoint->Find("b")->shape.empty());
  EXPECT_EQ(checkpoint->Integer("b").value(), 7);
}

TEST(SafetensorsTest, ReadsEveryDataType) {
  const std::pair<const char*, DataType> types[] = {
      {"BOOL", DataType::kBool}, {"U8", DataType::kU8},
      {"I8", DataType::kI8},     {"I16", DataType::kI16},
      {"I32", DataType::kI32},   {"I64", DataType::kI64},
      {"F16", DataType::kF16},   {"BF16", DataType::kBF16},
      {"F32", DataType::kF32},   {"F64", DataType::kF64}};
  for (const auto& [name, type] : types) {
    const size_t bytes = 3 * tensor::ByteWidth(type);
    const auto checkpoint =
        ParseText(File(One(name, "[3]", absl::StrCat("[0,", bytes, "]")),
                       std::string(bytes, '\0')));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(checkpoint->Find("w")->data_type, type) << name;
  }
}

TEST(SafetensorsTest, ReadsNoTensors) {
  const auto checkpoint = ParseText(File("{}"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->tensors().empty());
}

TEST(SafetensorsTest, ReadsTensorsOfNoElementsAnywhere) {
  const auto checkpoint = ParseText(
      File(R"({"a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},)"
           R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
           R"("c":{"dtype":"F64","shape":[5,0],"data_offsets":[2,2]}})",
           "xy"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Find("c")->shape, (Shape{5, 0}));
  EXPECT_TRUE(checkpoint->Floats("a")->empty());
}

TEST(SafetensorsTest, ReadsHeaderWhoseLengthLooksLikeAPickle) {
  std::string header = One("U8", "[1]", "[0,1]");
  header.resize(0x280, ' ');  // as a length: 80 02 00 ...
  EXPECT_TRUE(ParseText(File(header, "x")).ok());
  header.resize(0x38a0480, ' ');
  ExpectRefused(File(header, "x"), "is above the maximum of 16777216");
}

TEST(SafetensorsTest, RefusesTruncation) {
  ExpectRefused("", "the file has 0 bytes");
  ExpectRefused("1234567", "the file has 7 bytes; a safetensors file has");
  ExpectRefused(Packed(uint64_t{100}) + "{}",
                "truncated: a header of 100 bytes is promised, 2 follow");
  ExpectRefused(File(One("F32", "[2]", "[0,8]"), "1234567"),
                "tensor \"w\": data_offsets [0, 8] reach beyond the 7 bytes");
}

TEST(SafetensorsTest, RefusesAHugeHeader) {
  ExpectRefused(Packed(~uint64_t{0}) + "{}",
                "header length of 18446744073709551615 bytes is above the "
                "maximum of 16777216");
}

TEST(SafetensorsTest, RefusesWhatIsNoJson) {
  ExpectRefused(File(""), "the header starts with \"\", want \"{\"");
  ExpectRefused(File("[]"), "the header starts with \"[\", want \"{\"");
  ExpectRefused(File("\xef\xbb\xbf{}"), "the header starts with");
  ExpectRefused(File("{"), "not valid JSON");
  ExpectRefused(File("{} {}"), "not valid JSON");
  ExpectRefused(File("{\"a\xff\":1}"), "not valid JSON");
  ExpectRefused(File(std::string("{}\0x", 4)), "the header holds a zero byte");
}

TEST(SafetensorsTest, RefusesAnyOtherForm) {
  ExpectRefused(File(R"({"w":[1]})"),
                "tensor \"w\" has an array where an object is wanted");
  ExpectRefused(File(R"({"w":null})"), "has null where an object is wanted");
  ExpectRefused(File(R"({"w":true})"), "a boolean where an object is wanted");
  ExpectRefused(File(One("F32", "[[2]]", "[0,8]")),
                "has an array where a dimension");
  ExpectRefused(File(One("F32", "{}", "[0,8]")),
                "has an object where an array of dimensions is wanted");
  ExpectRefused(File(R"({"w":{"dtype":5}})"),
                "has the number 5 where a dtype string is wanted");
  ExpectRefused(File(std::string(100000, '[')), "the header starts with");
  ExpectRefused(File(R"({"w":{"shape":)" + std::string(100000, '[')),
                "has an array where a dimension");
}

TEST(SafetensorsTest, RefusesDuplicates) {
  const std::string tensor =
      R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  ExpectRefused(File(absl::StrCat(R"({"w":)", tensor, R"(,"w":)", tensor, "}")),
                "tensor name \"w\" occurs twice");
  ExpectRefused(File(R"({"w":{"dtype":"U8","dtype":"U8"}})"),
                "tensor \"w\": key \"dtype\" occurs twice");
  ExpectRefused(File(R"({"__metadata__":{},"__metadata__":{}})"),
                "__metadata__ occurs twice");
  ExpectRefused(File(R"({"__metadata__":{"a":"b","a":"b"}})"),
                "__metadata__: key \"a\" occurs twice");
}

TEST(SafetensorsTest, RefusesMissingAndUnknownKeys) {
  ExpectRefused(File(R"({"w":{}})"), "tensor \"w\": has no \"dtype\"");
  ExpectRefused(File(R"({"w":{"dtype":"U8","shape":[]}})"),
                "tensor \"w\": has no \"data_offsets\"");
  ExpectRefused(File(R"({"w":{"type":"U8"}})"),
                "tensor \"w\": key \"type\" is not known; known are dtype, "
                "shape and data_offsets");
}

TEST(SafetensorsTest, RefusesMetadataThatIsNotStrings) {
  ExpectRefused(File(R"({"__metadata__":{"a":1}})"),
                "__metadata__ has the number 1 where a string");
  ExpectRefused(File(R"({"__metadata__":{"a":{}}})"),
                "__metadata__ has an object where a string");
  ExpectRefused(File(R"({"__metadata__":"x"})"),
                "__metadata__ has the string \"x\" where an object is wanted");
}

TEST(SafetensorsTest, RefusesUnknownDataTypes) {
  ExpectRefused(File(One("F8_E4M3", "[1]", "[0,1]"), "x"),
                "tensor \"w\": dtype \"F8_E4M3\" is not known; known are BOOL, "
                "U8, I8, I16, I32, I64, F16, BF16, F32, F64");
}

TEST(SafetensorsTest, RefusesBadDimensions) {
  ExpectRefused(File(One("F32", "[-1]", "[0,8]")),
                "has the number -1 where a dimension");
  ExpectRefused(File(One("F32", "[1.0]", "[0,8]")),
                "has the number 1.0 where a dimension");
  ExpectRefused(File(One("F32", "[9223372036854775808]", "[0,8]")),
                "has the number 9223372036854775808 where a dimension");
  ExpectRefused(File(One("F32", "[99999999999999999999]", "[0,8]")),
                "has the number 99999999999999999999 where a dimension");
  ExpectRefused(File(One("F32", "[1e400]", "[0,8]")), "not valid JSON");
  ExpectRefused(File(One("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "1234"),
                "tensor \"w\": rank is above the maximum of 8");
}

TEST(SafetensorsTest, RefusesOverflowingShapes) {
  ExpectRefused(File(One("F32", "[4294967296,4294967296]", "[0,0]")),
                "tensor \"w\": shape [4294967296, 4294967296] has more than");
  ExpectRefused(File(One("F64", "[2305843009213693952]", "[0,0]")),
                "has more than 1099511627776 elements");
}

TEST(SafetensorsTest, RefusesBadOffsets) {
  ExpectRefused(File(One("U8", "[1]", "[0]"), "x"),
                "has an array of 1 where data_offsets as [begin, end]");
  ExpectRefused(File(One("U8", "[1]", "[0,1,2]"), "x"),
                "has the number 2 where data_offsets as [begin, end]");
  ExpectRefused(File(One("U8", "[1]", "[0,-1]"), "x"),
                "has the number -1 where data_offsets");
  ExpectRefused(File(One("U8", "[1]", "[1,0]"), "x"),
                "tensor \"w\": data_offsets [1, 0] begin after they end");
  ExpectRefused(File(One("U8", "[1]", "[0,9223372036854775807]"), "x"),
                "reach beyond the 1 bytes of data");
  ExpectRefused(File(One("F32", "[2]", "[0,4]"), "1234"),
                "tensor \"w\": data_offsets [0, 4] hold 4 bytes, but F32 [2] "
                "has 8");
}

TEST(SafetensorsTest, RefusesOverlap) {
  ExpectRefused(
      File(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
           R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
           "1234"),
      "tensor \"b\" at data byte 2 overlaps tensor \"a\", which ends at 3");
  ExpectRefused(File(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                     R"("b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
                     "123"),
                "overlaps");
}

TEST(SafetensorsTest, RefusesHolesAndTrailingBytes) {
  ExpectRefused(File(One("U8", "[2]", "[1,3]"), "123"),
                "data bytes 0 to 1 before tensor \"w\" belong to no tensor");
  ExpectRefused(File(One("U8", "[2]", "[0,2]"), "12345"),
                "the last 3 of 5 data bytes belong to no tensor");
}

TEST(SafetensorsTest, RefusesTooManyTensorsAndLongNames) {
  std::string header = "{";
  for (int i = 0; i <= kTensorsMax; ++i) {
    absl::StrAppend(&header, i == 0 ? "" : ",", "\"", i,
                    R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})");
  }
  ExpectRefused(File(header + "}"), "more than 65536 tensors");
  ExpectRefused(File(R"({")" + std::string(1025, 'n') + R"(":{}})"),
                "has 1025 bytes, at most 1024 are allowed");
}

TEST(SafetensorsTest, PrintsHostileNamesSafely) {
  ExpectRefused(File(R"({"a\n\u0000b":{}})"), "tensor \"a\\x0a\\x00b\"");
}

}  // namespace
}  // namespace fff::checkpoint

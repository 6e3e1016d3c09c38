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
  ExpectRefused("", "this file is empty");
  ExpectRefused("\xff\xfe\xff\xfe\xff\xfe",
                "the file has 6 bytes; a safetensors file has");
  ExpectRefused(Packed(uint64_t{100}) + "{}",
                "truncated: a header of 100 bytes is promised, 2 follow; copy "
                "the file again");
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
                "__metadata__ has the string \"x\" where an object or null is "
                "wanted");
}

TEST(SafetensorsTest, OtherDataTypesAreAnErrorForWhoWantsThem) {
  const std::pair<const char*, size_t> types[] = {
      {"F4", 1},      {"F6_E2M3", 3}, {"F6_E3M2", 3},     {"F8_E5M2", 4},
      {"F8_E4M3", 4}, {"F8_E8M0", 4}, {"F8_E4M3FNUZ", 4}, {"F8_E5M2FNUZ", 4},
      {"U16", 8},     {"U32", 16},    {"U64", 32},        {"C64", 32}};
  for (const auto& [type, size] : types) {
    const std::string shape = size == 1 ? "[2]" : "[2,2]";
    const std::string data(size, 'x');
    const auto file =
        ParseText(File(One(type, shape, absl::StrCat("[0,", size, "]")), data));
    ASSERT_TRUE(file.ok()) << type << file.status();
    EXPECT_EQ(file->Find("w")->shape.size(), size == 1 ? 1u : 2u);
    ExpectInvalid(file->Floats("w"),
                  absl::StrCat("file: tensor \"w\": has dtype ", type,
                               ", which is not read"));
    ExpectInvalid(file->Integer("w"), "which is not read");
    // Its size is known all the same.
    ExpectRefused(
        File(One(type, shape, absl::StrCat("[0,", size + 1, "]")), data + "x"),
        absl::StrCat("hold ", size + 1, " bytes, but ", type));
  }
  ExpectRefused(File(One("F6_E2M3", "[3]", "[0,2]"), "xx"),
                "F6_E2M3 [3] takes 18 bits, no whole number of bytes");
  ExpectRefused(File(One("U64", "[4294967296,4294967296]", "[0,0]")),
                "its shape has more than 2^64 bits");
}

TEST(SafetensorsTest, ChecksTheOffsetsOfDataTypesThatNobodyKnows) {
  const auto file = ParseText(File(One("X3\\n", "[5]", "[0,3]"), "123"));
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectInvalid(file->Floats("w"), "has dtype X3\\x0a, which is not read");
  const auto huge = ParseText(
      File(One("X3", "[4611686018427387904,4611686018427387904]", "[0,0]")));
  ASSERT_TRUE(huge.ok()) << huge.status();
  EXPECT_TRUE(huge->Find("w")->shape.empty());
  ExpectRefused(File(One("X3", "[5]", "[0,4]"), "123"), "reach beyond the 3");
  ExpectRefused(File(One("X3", "[5]", "[1,3]"), "123"), "belong to no tensor");
}

TEST(SafetensorsTest, BlanksMayStandBeforeTheHeader) {
  const std::string one = One("U8", "[1]", "[0,1]");
  for (const char* blanks : {" ", "\n\n", "\r\n\t "}) {
    EXPECT_TRUE(ParseText(File(blanks + one, "x")).ok());
  }
  // Also in one whose length looks like a pickle.
  std::string header = " " + one;
  header.resize(0x280, ' ');
  EXPECT_TRUE(ParseText(File(header, "x")).ok());
  ExpectRefused(File("\v" + one, "x"), "the header starts with \"\\x0b\"");
  ExpectRefused(File(" \xef\xbb\xbf" + one, "x"), "the header starts with");
  ExpectRefused(File("  "), "the header starts with \"\", want \"{\"");
}

TEST(SafetensorsTest, MetadataMayBeNull) {
  for (const char* header :
       {R"({"__metadata__":null,"w":{"dtype":"U8","shape":[1],)"
        R"("data_offsets":[0,1]}})",
        R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
        R"("__metadata__": null})"}) {
    const auto file = ParseText(File(header, "x"));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->tensors().size(), 1u);
  }
  ExpectRefused(File(R"({"__metadata__":{"a":null}})"), "has null where");
  ExpectRefused(File(R"({"__metadata__":null,"__metadata__":null})"),
                "occurs twice");
}

TEST(SafetensorsTest, MetadataNamesTiedTensors) {
  const auto file = ParseText(
      File(R"({"__metadata__":{"Y":"X","Z":"X","format":"pt","W":"Y","X":"V",)"
           R"("none":"nothing"},)"
           R"("V":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
           R"("X":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
           "xv"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->RequiredNames(), (std::vector<std::string>{"V", "X"}));
  EXPECT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(Elements<char>(*file, "Y", DataType::kU8), std::vector<char>{'x'});
  EXPECT_EQ(file->Find("Z")->bytes.data(), file->Find("X")->bytes.data());
  EXPECT_TRUE(file->Find("Z")->optional);
  // A tensor stays what it is, and an alias of an alias is none.
  EXPECT_FALSE(file->Find("X")->optional);
  EXPECT_EQ(Elements<char>(*file, "X", DataType::kU8), std::vector<char>{'x'});
  EXPECT_EQ(file->Find("W"), nullptr);
  EXPECT_EQ(file->Find("none"), nullptr);
}

TEST(SafetensorsTest, BoundsAliases) {
  const std::string one = R"("w":{"dtype":"U8","shape":[0],)"
                          R"("data_offsets":[0,0]}})";
  std::string header = R"({"__metadata__":{)";
  for (int i = 0; i <= kTensorsMax; ++i) {
    absl::StrAppend(&header, "\"a", i, "\":\"w\",");
  }
  const auto file = ParseText(File(
      absl::StrCat(header, "\"", std::string(1025, 'n'), "\":\"w\"},", one)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().size(), size_t{kTensorsMax});
  EXPECT_EQ(file->Find(std::string(1025, 'n')), nullptr);
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
  const auto nine =
      ParseText(File(One("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "1234"));
  ASSERT_TRUE(nine.ok()) << nine.status();
  ExpectInvalid(nine->Floats("w"), "has 9 dimensions, at most 8 are read");
  ExpectRefused(File(One("F32", "[1,1,1,1,1,1,1,1,2]", "[0,4]"), "1234"),
                "hold 4 bytes, but F32 of 9 dimensions has 8");
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

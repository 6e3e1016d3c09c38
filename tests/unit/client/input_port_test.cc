#include "client/cli/rows/input_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "client/cli/formats/npy.h"
#include "client/cli/rows/read_file.h"

namespace fff::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

v1::TensorMetadata Port(v1::DataType type, const std::vector<int64_t>& shape) {
  v1::TensorMetadata port;
  port.set_name("x");
  port.set_datatype(type);
  port.mutable_shape()->Assign(shape.begin(), shape.end());
  return port;
}

absl::StatusOr<PortRows> Read(const v1::TensorMetadata& port,
                              const std::string& contents,
                              const PortOptions& options = {}) {
  return ReadPort({"x", "rows.csv", ""}, port, contents, options);
}

template <class T>
std::vector<T> Values(absl::string_view bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(InputArgumentTest, ANameStandsBeforeTheFirstEqualsSign) {
  EXPECT_EQ(ParseInputArgument("rows.npy").name, "");
  EXPECT_EQ(ParseInputArgument("ids=a=b.npy").name, "ids");
  EXPECT_EQ(ParseInputArgument("ids=a=b.npy").file, "a=b.npy");
  EXPECT_EQ(ParseInputArgument("=b.npy").file, "=b.npy");
}

TEST(InputArgumentTest, TheNameOfAFileIsThatFile) {
  const std::string path = ::testing::TempDir() + "/input_port=test.csv";
  ASSERT_TRUE(WriteFile(path, "1").ok());
  EXPECT_EQ(ParseInputArgument(path).name, "");
  EXPECT_EQ(ParseInputArgument(path).file, path);
}

TEST(PortTest, SaysDatatypeShapeAndWhatIsOptional) {
  v1::TensorMetadata port = Port(v1::DATA_TYPE_INT64, {-1, 2});
  EXPECT_EQ(PortText(port), "INT64 [sequence, 2]");
  port.set_optional(true);
  EXPECT_EQ(PortText(port), "INT64 [sequence, 2], optional");
  EXPECT_EQ(PortText(Port(v1::DATA_TYPE_UNSPECIFIED, {4})), "FP32 [4]");
}

TEST(PortTest, ShapesOfAPeerCannotOverflow) {
  EXPECT_EQ(ElementsOf(Port(v1::DATA_TYPE_FP32, {-1, 3}), 5), 15);
  const int64_t huge = int64_t{1} << 62;
  EXPECT_EQ(ElementsOf(Port(v1::DATA_TYPE_FP32, {huge, huge, huge}), 1),
            int64_t{1} << 40);
  EXPECT_EQ(ElementsOf(Port(v1::DATA_TYPE_FP32, {3, -2}), 1), 0);
  EXPECT_FALSE(Read(Port(v1::DATA_TYPE_FP32, {-1, 0}), "1,2\n").ok());
}

TEST(PortTest, AServerThatDescribesOneInputHasThatOne) {
  v1::GetModelResponse model;
  *model.mutable_input() = Port(v1::DATA_TYPE_FP32, {4});
  EXPECT_EQ(FindPort(model, "")->shape(0), 4);
  EXPECT_EQ(FindPort(model, "x")->shape(0), 4);
  EXPECT_EQ(FindPort(model, "y").status().code(), absl::StatusCode::kNotFound);
  *model.add_inputs() = Port(v1::DATA_TYPE_INT64, {-1});
  EXPECT_EQ(FindPort(model, "")->datatype(), v1::DATA_TYPE_INT64);
}

TEST(ReadPortTest, NumbersTakeTheInputsDatatype) {
  const auto bytes = [](v1::DataType type) {
    const auto rows = Read(Port(type, {2}), "1,2\n3,255\n");
    EXPECT_TRUE(rows.ok()) << rows.status();
    EXPECT_EQ(rows->Slice(0, 2).type, type);
    return std::string(rows->Slice(1, 1).bytes);
  };
  EXPECT_THAT(Values<int64_t>(bytes(v1::DATA_TYPE_INT64)), ElementsAre(3, 255));
  EXPECT_THAT(Values<int32_t>(bytes(v1::DATA_TYPE_INT32)), ElementsAre(3, 255));
  EXPECT_THAT(Values<uint8_t>(bytes(v1::DATA_TYPE_UINT8)), ElementsAre(3, 255));
  EXPECT_THAT(Values<float>(bytes(v1::DATA_TYPE_FP32)), ElementsAre(3, 255));
}

TEST(ReadPortTest, NumbersOutsideTheDatatypeAreErrors) {
  const auto rows = Read(Port(v1::DATA_TYPE_UINT8, {2}), "1,256\n");
  EXPECT_EQ(rows.status().message(),
            "rows.csv as UINT8 [2]: got 256, wanted 0 to 255");
  EXPECT_EQ(
      Read(Port(v1::DATA_TYPE_INT32, {1}), "2147483648\n").status().code(),
      kInvalid);
  EXPECT_EQ(Read(Port(v1::DATA_TYPE_INT64, {1}), "0.5\n").status().code(),
            kInvalid);
}

TEST(ReadPortTest, PixelsAreScaledForFloatsAlone) {
  const std::string idx("\0\0\x08\x02\0\0\0\x01\0\0\0\x02\x00\xFF", 14);
  const auto floats = Read(Port(v1::DATA_TYPE_FP32, {2}), idx);
  ASSERT_TRUE(floats.ok()) << floats.status();
  EXPECT_THAT(Values<float>(floats->bytes), ElementsAre(-1, 1));
  const auto pixels = Read(Port(v1::DATA_TYPE_UINT8, {2}), idx);
  ASSERT_TRUE(pixels.ok()) << pixels.status();
  EXPECT_THAT(Values<uint8_t>(pixels->bytes), ElementsAre(0, 255));
  EXPECT_EQ(
      Read(Port(v1::DATA_TYPE_UINT8, {2}), idx, {0, "0,1"}).status().code(),
      kInvalid);
}

TEST(ReadPortTest, RowsOfASequenceMayDiffer) {
  const auto rows =
      Read(Port(v1::DATA_TYPE_INT64, {-1, 2}), "1,2\n3,4\n5,6,7,8\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->sequence(2), 2);
  EXPECT_THAT(rows->Slice(0, 2).shape, ElementsAre(2, 1, 2));
  EXPECT_THAT(rows->Slice(2, 1).shape, ElementsAre(1, 2, 2));
  EXPECT_THAT(Values<int64_t>(rows->Slice(2, 1).bytes),
              ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(RowsAlike({*rows}, 0, 9), 2);
  EXPECT_EQ(RowsAlike({*rows}, 0, 1), 1);
  EXPECT_EQ(RowsAlike({*rows}, 2, 9), 1);
  const auto cut = Read(Port(v1::DATA_TYPE_INT64, {-1, 2}), "1,2,3\n");
  EXPECT_THAT(cut.status().message(), HasSubstr("wants a multiple of 2"));
}

TEST(ReadPortTest, RowsOfAnInputOfOneLengthMayNot) {
  const auto rows = Read(Port(v1::DATA_TYPE_INT64, {2}), "1,2\n3\n");
  EXPECT_THAT(rows.status().message(),
              HasSubstr("got 1 cells, wanted 2 as in the first row"));
}

TEST(ReadPortTest, DimensionsInAnotherOrderAreRefused) {
  const std::string file = WriteNpy(std::vector<float>(12), {1, 2, 3, 2});
  EXPECT_TRUE(Read(Port(v1::DATA_TYPE_FP32, {2, 3, 2}), file).ok());
  EXPECT_TRUE(Read(Port(v1::DATA_TYPE_FP32, {12}), file).ok());
  EXPECT_TRUE(Read(Port(v1::DATA_TYPE_FP32, {-1, 3, 2}), file).ok());
  EXPECT_THAT(
      Read(Port(v1::DATA_TYPE_FP32, {2, 2, 3}), file).status().message(),
      HasSubstr("gives rows of [2, 3, 2], input 'x' wants FP32 [2, 2, 3]"));
  EXPECT_FALSE(Read(Port(v1::DATA_TYPE_FP32, {-1, 2, 3}), file).ok());
}

TEST(ReadPortTest, AColumnTooManyMayBeAnIndex) {
  const v1::TensorMetadata port = Port(v1::DATA_TYPE_FP32, {2});
  EXPECT_THAT(Read(port, "id,a,b\n7,0.5,1.5\n").status().message(),
              HasSubstr("if the first column is an index, write the file"));
  EXPECT_THAT(Read(port, "1,2,3,4\n").status().message(),
              Not(HasSubstr("index")));
}

TEST(ReadPortTest, ALimitKeepsTheFirstRows) {
  const auto rows =
      Read(Port(v1::DATA_TYPE_INT64, {-1}), "1,2\n3\n4,5\n", {2, ""});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->rows(), 2);
  EXPECT_THAT(Values<int64_t>(rows->bytes), ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace fff::cli

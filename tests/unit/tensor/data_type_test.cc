#include "server/tensor/data_type.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"

namespace fff::tensor {
namespace {

uint32_t Bits(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

TEST(DataTypeTest, KnowsWidthsAndNames) {
  const struct {
    DataType type;
    size_t width;
    absl::string_view name;
  } known[] = {
      {DataType::kBool, 1, "BOOL"}, {DataType::kU8, 1, "U8"},
      {DataType::kI8, 1, "I8"},     {DataType::kI16, 2, "I16"},
      {DataType::kI32, 4, "I32"},   {DataType::kI64, 8, "I64"},
      {DataType::kF16, 2, "F16"},   {DataType::kBF16, 2, "BF16"},
      {DataType::kF32, 4, "F32"},   {DataType::kF64, 8, "F64"},
  };
  for (const auto& [type, width, name] : known) {
    EXPECT_EQ(ByteWidth(type), width) << name;
    EXPECT_EQ(Name(type), name);
  }
}

TEST(HalfToFloatTest, ConvertsLandmarks) {
  EXPECT_EQ(HalfToFloat(0x3c00), 1.0f);
  EXPECT_EQ(HalfToFloat(0xc000), -2.0f);
  EXPECT_EQ(HalfToFloat(0x7bff), 65504.0f);
  EXPECT_EQ(HalfToFloat(0x0400), 0x1p-14f);
  EXPECT_EQ(HalfToFloat(0x0001), 0x1p-24f);
  EXPECT_EQ(HalfToFloat(0x83ff), -0x3ffp-24f);
  EXPECT_EQ(HalfToFloat(0x7c00), std::numeric_limits<float>::infinity());
  EXPECT_EQ(HalfToFloat(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(Bits(HalfToFloat(0x8000)), 0x80000000u);
  EXPECT_EQ(Bits(HalfToFloat(0x7e01)), 0x7fc02000u);  // the payload is kept
}

TEST(HalfToFloatTest, EqualsItsDefinitionForEveryFinitePattern) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 0x1f);
    if (exponent == 31) continue;
    const auto fraction = static_cast<double>(bits & 0x3ff) / 1024;
    const double magnitude = exponent == 0
                                 ? std::ldexp(fraction, -14)
                                 : std::ldexp(1 + fraction, exponent - 15);
    const double wanted = (bits & 0x8000) != 0 ? -magnitude : magnitude;
    ASSERT_EQ(HalfToFloat(static_cast<uint16_t>(bits)), wanted) << bits;
  }
}

TEST(BFloat16ToFloatTest, IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(BFloat16ToFloat(0x3f80), 1.0f);
  EXPECT_EQ(BFloat16ToFloat(0xc040), -3.0f);
  EXPECT_EQ(BFloat16ToFloat(0x0001), 0x1p-133f);
  EXPECT_EQ(Bits(BFloat16ToFloat(0x7fc1)), 0x7fc10000u);
}

}  // namespace
}  // namespace fff::tensor

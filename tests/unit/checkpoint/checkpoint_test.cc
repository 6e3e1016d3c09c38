#include "server/checkpoint/checkpoint.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

using tensor::DataType;

// One tensor "w" over `bytes`, which must outlive the result.
Checkpoint One(DataType type, tensor::Shape shape, const std::string& bytes) {
  Checkpoint::TensorMap tensors;
  tensors.emplace("w", NamedTensor{type, std::move(shape), AsBytes(bytes)});
  return Checkpoint("file", "safetensors", std::move(tensors), nullptr);
}

template <typename... T>
std::vector<float> FloatsOf(DataType type, T... values) {
  const std::string bytes = Packed(values...);
  const Checkpoint checkpoint = One(type, {int64_t{sizeof...(values)}}, bytes);
  const auto floats = checkpoint.Floats("w");
  if (!floats.ok()) {
    ADD_FAILURE() << floats.status();
    return {};
  }
  return {floats->span().begin(), floats->span().end()};
}

TEST(CheckpointTest, FindsTensorsByName) {
  const std::string bytes = Packed(1.0f);
  const Checkpoint checkpoint = One(DataType::kF32, {1}, bytes);
  EXPECT_NE(checkpoint.Find("w"), nullptr);
  EXPECT_EQ(checkpoint.Find("v"), nullptr);
}

TEST(CheckpointTest, ConvertsEveryNumberTypeToFloats) {
  using Floats = std::vector<float>;
  EXPECT_EQ(FloatsOf(DataType::kU8, uint8_t{0}, uint8_t{255}),
            (Floats{0, 255}));
  EXPECT_EQ(FloatsOf(DataType::kI8, int8_t{-128}, int8_t{127}),
            (Floats{-128, 127}));
  EXPECT_EQ(FloatsOf(DataType::kI16, int16_t{-32768}), Floats{-32768});
  EXPECT_EQ(FloatsOf(DataType::kI32, int32_t{1 << 24}), Floats{16777216});
  EXPECT_EQ(FloatsOf(DataType::kI64, std::numeric_limits<int64_t>::min()),
            Floats{-0x1p63f});
  EXPECT_EQ(FloatsOf(DataType::kF16, uint16_t{0x3e00}), Floats{1.5});
  EXPECT_EQ(FloatsOf(DataType::kBF16, uint16_t{0x3fc0}), Floats{1.5});
  EXPECT_EQ(FloatsOf(DataType::kF64, -0.1), Floats{-0.1f});
}

TEST(CheckpointTest, SharesAlignedFloats) {
  alignas(float) const float values[] = {1, 2, 3};
  Checkpoint::TensorMap tensors;
  tensors.emplace(
      "w", NamedTensor{DataType::kF32,
                       {3},
                       {reinterpret_cast<const std::byte*>(values), 12}});
  auto owner = std::make_shared<int>(0);
  std::weak_ptr<int> alive = owner;
  tensor::FloatArray floats;
  {
    const Checkpoint checkpoint("file", "torch", std::move(tensors),
                                std::move(owner));
    floats = checkpoint.Floats("w").value();
  }
  EXPECT_EQ(floats.data(), values);
  EXPECT_FALSE(alive.expired());  // the array alone keeps the storage
  floats = {};
  EXPECT_TRUE(alive.expired());
}

TEST(CheckpointTest, CopiesUnalignedFloats) {
  const std::string bytes = "x" + Packed(1.5f, -2.5f);
  Checkpoint::TensorMap tensors;
  tensors.emplace("w",
                  NamedTensor{DataType::kF32, {2}, AsBytes(bytes).subspan(1)});
  const Checkpoint checkpoint("file", "torch", std::move(tensors), nullptr);
  const auto floats = checkpoint.Floats("w");
  ASSERT_TRUE(floats.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(floats->data()) % alignof(float), 0u);
  EXPECT_EQ((*floats)[0], 1.5f);
  EXPECT_EQ((*floats)[1], -2.5f);
}

TEST(CheckpointTest, PassesNanAndInfinityOfDoubles) {
  const std::vector<float> floats =
      FloatsOf(DataType::kF64, std::nan(""), -HUGE_VAL,
               double{std::numeric_limits<float>::max()});
  ASSERT_EQ(floats.size(), 3u);
  EXPECT_TRUE(std::isnan(floats[0]));
  EXPECT_EQ(floats[1], -HUGE_VALF);
  EXPECT_EQ(floats[2], std::numeric_limits<float>::max());
}

TEST(CheckpointTest, RefusesDoublesBeyondFloat) {
  const std::string bytes = Packed(1.0, -1e39);
  ExpectInvalid(One(DataType::kF64, {2}, bytes).Floats("w"),
                "file: tensor \"w\": element 1 is -1e+39, beyond the range");
}

TEST(CheckpointTest, RefusesBooleansAsNumbers) {
  const Checkpoint checkpoint = One(DataType::kBool, {1}, "\1");
  ExpectInvalid(checkpoint.Floats("w"),
                "file: tensor \"w\": has dtype BOOL, want floats or integers");
  ExpectInvalid(checkpoint.Integer("w"), "has dtype BOOL, want an integer");
}

TEST(CheckpointTest, NamesThePresentWhenOneIsMissing) {
  Checkpoint::TensorMap tensors;
  for (int i = 10; i < 35; ++i)
    tensors.emplace(absl::StrCat("t", i), NamedTensor{});
  const Checkpoint many("file", "torch", tensors, nullptr);
  const absl::Status status = many.Floats("w\n").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(
      std::string(status.message()),
      testing::StartsWith("file: no tensor \"w\\x0a\"; there are t10, t11, "));
  EXPECT_THAT(std::string(status.message()),
              testing::EndsWith(", t29 and 5 more"));
  const Checkpoint none("file", "torch", {}, nullptr);
  EXPECT_EQ(none.Integer("w").status().message(),
            "file: no tensor \"w\"; there are none");
}

TEST(CheckpointTest, ReadsIntegersOfEveryType) {
  const auto integer = [](DataType type, const std::string& bytes) {
    return One(type, {1, 1}, bytes).Integer("w").value();
  };
  EXPECT_EQ(integer(DataType::kU8, "\xff"), 255);
  EXPECT_EQ(integer(DataType::kI8, "\xff"), -1);
  EXPECT_EQ(integer(DataType::kI16, Packed(int16_t{-300})), -300);
  EXPECT_EQ(integer(DataType::kI32, Packed(int32_t{-70000})), -70000);
  EXPECT_EQ(integer(DataType::kI64, Packed(int64_t{1} << 62)),
            int64_t{1} << 62);
  EXPECT_EQ(integer(DataType::kF16, Packed(uint16_t{0x4400})), 4);
  EXPECT_EQ(integer(DataType::kBF16, Packed(uint16_t{0x4080})), 4);
  EXPECT_EQ(integer(DataType::kF32, Packed(-4.0f)), -4);
  EXPECT_EQ(integer(DataType::kF64, Packed(11.0)), 11);
}

TEST(CheckpointTest, RefusesWhatIsNoInteger) {
  for (const double value : {0.5, std::nan(""), HUGE_VAL, 0x1p53}) {
    const std::string bytes = Packed(value);
    ExpectInvalid(One(DataType::kF64, {}, bytes).Integer("w"),
                  "want an integer");
  }
}

TEST(CheckpointTest, RefusesMoreOrLessThanOneElementAsInteger) {
  const std::string bytes = Packed(int64_t{1}, int64_t{2});
  ExpectInvalid(One(DataType::kI64, {2}, bytes).Integer("w"),
                "file: tensor \"w\": has shape [2], want one element");
  ExpectInvalid(One(DataType::kI64, {0}, "").Integer("w"),
                "has shape [0], want one element");
}

}  // namespace
}  // namespace fff::checkpoint

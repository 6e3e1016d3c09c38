#include "server/tensor/float_array.h"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace fff::tensor {
namespace {

bool IsAligned(const float* data, size_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

TEST(FloatArrayTest, IsEmptyByDefault) {
  const FloatArray array;
  EXPECT_TRUE(array.empty());
  EXPECT_EQ(array.size(), 0);
}

TEST(FloatArrayTest, CopiesIntoAlignedMemory) {
  std::vector<float> values = {1, 2, 3};
  const FloatArray array = FloatArray::CopyOf(values);
  values[0] = 9;
  EXPECT_EQ(array.size(), 3);
  EXPECT_EQ(array[0], 1.0f);
  EXPECT_TRUE(IsAligned(array.data(), kAlignmentBytes));
}

TEST(FloatArrayTest, KeepsItsOwnerAlive) {
  auto owner = std::make_shared<std::vector<float>>(4, 2.5f);
  const std::weak_ptr<std::vector<float>> alive = owner;
  const absl::Span<const float> part(owner->data() + 1, 2);
  FloatArray array(std::move(owner), part);
  FloatArray copy = array;
  array = {};
  EXPECT_FALSE(alive.expired());
  EXPECT_EQ(copy.data(), part.data());
  EXPECT_EQ(copy[1], 2.5f);
  copy = {};
  EXPECT_TRUE(alive.expired());
}

TEST(FloatBufferTest, StartsAlignedAndZero) {
  for (const int64_t size : {int64_t{1}, int64_t{1000}, int64_t{1} << 20}) {
    const FloatBuffer buffer(size);
    ASSERT_EQ(buffer.size(), size);
    EXPECT_TRUE(IsAligned(buffer.data(), kAlignmentBytes));
    for (int64_t i = 0; i < size; ++i) ASSERT_EQ(buffer.data()[i], 0.0f);
  }
}

TEST(FloatBufferTest, HandsItsMemoryOver) {
  FloatBuffer buffer(3);
  buffer.span()[2] = 7;
  const float* const data = buffer.data();
  const FloatArray array = std::move(buffer).Freeze();
  EXPECT_EQ(array.data(), data);
  EXPECT_EQ(array[2], 7.0f);
  EXPECT_EQ(buffer.size(), 0);  // NOLINT(bugprone-use-after-move): promised
}

TEST(FloatBufferTest, OfNoElementsFreezesToNothing) {
  EXPECT_TRUE(FloatBuffer(0).Freeze().empty());
  EXPECT_TRUE(FloatBuffer().Freeze().empty());
}

TEST(RowsTest, LieBehindEachOther) {
  float values[] = {1, 2, 3, 4, 5, 6};
  const ConstRows rows{values, 2, 3};
  EXPECT_EQ(rows.row(1)[0], 4.0f);
  const MutableRows mutable_rows{values, 3, 2};
  mutable_rows.row(2)[1] = 9;
  EXPECT_EQ(values[5], 9.0f);
}

}  // namespace
}  // namespace fff::tensor

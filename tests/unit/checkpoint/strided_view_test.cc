#include "server/checkpoint/strided_view.h"

#include <cstdint>
#include <limits>
#include <numeric>

#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

template <typename T>
std::vector<T> Copy(const StridedView& view, size_t storage_size) {
  std::vector<T> storage(storage_size);
  std::iota(storage.begin(), storage.end(), T{0});
  const int64_t elements = tensor::NumElements(view.shape).value();
  std::vector<T> copy(static_cast<size_t>(elements));
  CopyStrided(
      view, sizeof(T),
      {reinterpret_cast<const std::byte*>(storage.data()),
       storage.size() * sizeof(T)},
      {reinterpret_cast<std::byte*>(copy.data()), copy.size() * sizeof(T)});
  return copy;
}

TEST(StorageExtentTest, IsOneMoreThanTheHighestIndex) {
  EXPECT_EQ(StorageExtent({{2, 3}, {3, 1}, 0}).value(), 6);
  EXPECT_EQ(StorageExtent({{3, 2}, {1, 3}, 4}).value(), 10);
  EXPECT_EQ(StorageExtent({{}, {}, 5}).value(), 6);
  EXPECT_EQ(StorageExtent({{1000}, {0}, 2}).value(), 3);
}

TEST(StorageExtentTest, OfNoElementsIsZero) {
  EXPECT_EQ(StorageExtent({{4, 0}, {1, 1}, 7}).value(), 0);
  EXPECT_EQ(StorageExtent({{kMax, 0}, {kMax, kMax}, kMax}).value(), 0);
}

TEST(StorageExtentTest, IgnoresTheStrideOfADimensionOfOne) {
  EXPECT_EQ(StorageExtent({{1, 3}, {kMax, 1}, 0}).value(), 3);
}

TEST(StorageExtentTest, RefusesMismatchedRanks) {
  ExpectInvalid(StorageExtent({{2, 3}, {1}, 0}),
                "shape has 2 dimensions, but 1 strides are given");
}

TEST(StorageExtentTest, RefusesNegativeNumbers) {
  ExpectInvalid(StorageExtent({{2}, {1}, -1}), "storage offset -1 is negative");
  ExpectInvalid(StorageExtent({{2}, {-1}, 5}), "strides [-1] hold a negative");
  ExpectInvalid(StorageExtent({{-2}, {1}, 0}), "negative dimension");
}

TEST(StorageExtentTest, RefusesOverflow) {
  ExpectInvalid(StorageExtent({{3}, {kMax / 2 + 1}, 0}),
                "reach beyond 2^63 elements");
  ExpectInvalid(StorageExtent({{2, 2}, {kMax, kMax}, 0}),
                "reach beyond 2^63 elements");
  ExpectInvalid(StorageExtent({{1}, {1}, kMax}), "is too large");
  ExpectInvalid(StorageExtent({{kMax, kMax}, {0, 0}, 0}), "elements");
}

TEST(StorageExtentTest, RefusesARankAboveTheMaximum) {
  const tensor::Shape nine(9, 1);
  ExpectInvalid(StorageExtent({nine, nine, 0}), "rank 9 is above the maximum");
}

TEST(IsContiguousTest, KnowsRowMajorFromOther) {
  EXPECT_TRUE(IsContiguous({{2, 3}, {3, 1}, 4}));
  EXPECT_TRUE(IsContiguous({{}, {}, 4}));
  EXPECT_TRUE(IsContiguous({{2, 1, 3}, {3, 99, 1}, 0}));
  EXPECT_TRUE(IsContiguous(
      {{0, int64_t{1} << 62, int64_t{1} << 62}, {5, int64_t{1} << 62, 1}, 0}));
  EXPECT_FALSE(IsContiguous({{3, 2}, {1, 3}, 0}));
  EXPECT_FALSE(IsContiguous({{2, 3}, {4, 1}, 0}));
  EXPECT_FALSE(IsContiguous({{2}, {0}, 0}));
}

TEST(CopyStridedTest, Transposes) {
  EXPECT_EQ(Copy<float>({{3, 2}, {1, 3}, 0}, 6),
            (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST(CopyStridedTest, RepeatsElementsOfStrideZero) {
  EXPECT_EQ(Copy<int16_t>({{2, 3}, {0, 1}, 2}, 5),
            (std::vector<int16_t>{2, 3, 4, 2, 3, 4}));
}

TEST(CopyStridedTest, TakesEveryOtherOfThreeDimensions) {
  EXPECT_EQ(Copy<int64_t>({{2, 2, 2}, {12, 6, 2}, 1}, 24),
            (std::vector<int64_t>{1, 3, 7, 9, 13, 15, 19, 21}));
}

TEST(CopyStridedTest, CopiesBytesAndScalars) {
  EXPECT_EQ(Copy<uint8_t>({{2}, {3}, 1}, 5), (std::vector<uint8_t>{1, 4}));
  EXPECT_EQ(Copy<double>({{}, {}, 4}, 5), std::vector<double>{4});
}

TEST(CopyStridedTest, NeverAddsTheStrideOfADimensionOfOne) {
  EXPECT_EQ(Copy<float>({{1, 2, 1, 2}, {kMax, 2, kMax, 1}, 1}, 5),
            (std::vector<float>{1, 2, 3, 4}));
}

TEST(CopyStridedTest, CopiesNothingForNoElements) {
  EXPECT_TRUE(Copy<float>({{2, 0}, {1, 1}, 3}, 1).empty());
}

}  // namespace
}  // namespace fff::checkpoint

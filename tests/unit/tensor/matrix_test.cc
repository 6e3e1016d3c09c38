#include "server/tensor/matrix.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace fff::tensor {
namespace {

TEST(MatrixTest, TransposesEveryShape) {
  for (const int64_t rows : {1, 2, 31, 32, 33, 100}) {
    for (const int64_t columns : {1, 3, 32, 65}) {
      std::vector<float> from(static_cast<size_t>(rows * columns));
      for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
      const FloatArray to = Transposed(from, rows, columns);
      ASSERT_EQ(to.size(), rows * columns);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          ASSERT_EQ(to[c * rows + r],
                    from[static_cast<size_t>(r * columns + c)]);
        }
      }
    }
  }
}

TEST(MatrixTest, TransposeIntoKeepsTheGapsBetweenRows) {
  const std::vector<float> from = {1, 2, 3, 4};
  std::vector<float> to(6, -1);
  TransposeInto(from, 2, 2, to.data(), 3);
  EXPECT_EQ(to, (std::vector<float>{1, 3, -1, 2, 4, -1}));
}

TEST(MatrixTest, FindsTheFirstValueThatIsNotFinite) {
  std::vector<float> values(10000, 1.0F);
  EXPECT_EQ(FindNonFinite(values), -1);
  EXPECT_EQ(FindNonFinite({}), -1);
  values[9999] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(FindNonFinite(values), 9999);
  values[4096] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(FindNonFinite(values), 4096);
  values[0] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(FindNonFinite(values), 0);
  values[0] = std::numeric_limits<float>::max();
  values[4096] = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(FindNonFinite(values), 9999);
}

}  // namespace
}  // namespace fff::tensor

#include "server/serving/repository/kernel_text.h"

#include <gtest/gtest.h>

namespace fff::serving {
namespace {

using Steps = std::vector<engine::KernelPlan::Step>;

TEST(KernelTextTest, NamesLayerBatchSizeKernelAndReason) {
  EXPECT_EQ(KernelText({}), "");
  EXPECT_EQ(KernelText(std::vector<Steps>{
                {{1, "walk", "measured"}, {16, "panel", "faster"}}}),
            "layer 0 from 1 rows walk (measured); "
            "layer 0 from 16 rows panel (faster)");
}

TEST(KernelTextTest, LayersThatChooseAlikeShareAnEntry) {
  const Steps a = {{1, "walk", "measured: 2 us"}};
  const Steps same = {{1, "walk", "measured: 3 us"}};
  const Steps other = {{1, "walk", "measured: 2 us"}, {8, "panel", "faster"}};
  EXPECT_EQ(KernelText(std::vector<Steps>{a, same, other, a, same, a, {}, a}),
            "layers 0, 1, 3-5, 7 from 1 rows walk (measured: 2 us); "
            "layer 2 from 1 rows walk (measured: 2 us); "
            "layer 2 from 8 rows panel (faster)");
}

}  // namespace
}  // namespace fff::serving

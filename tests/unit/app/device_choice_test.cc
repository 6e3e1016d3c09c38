#include "server/app/device_choice.h"

#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// No engine can be opened while it lives.
class WithoutEngine {
 public:
  WithoutEngine() { setenv("FFF_CUDA_ENGINE", "/nonexistent/engine.so", 1); }
  ~WithoutEngine() { unsetenv("FFF_CUDA_ENGINE"); }
  WithoutEngine(const WithoutEngine&) = delete;
  WithoutEngine& operator=(const WithoutEngine&) = delete;
};

TEST(DeviceNumbers, ReadsTheList) {
  EXPECT_THAT(DeviceNumbers("auto"), ElementsAre(0));
  EXPECT_THAT(DeviceNumbers("cuda"), ElementsAre(0));
  EXPECT_THAT(DeviceNumbers("cuda:2"), ElementsAre(2));
  EXPECT_THAT(DeviceNumbers("cuda:0,3"), ElementsAre(0, 3));
  EXPECT_THAT(DeviceNumbers("cuda:99999999999"), ElementsAre(-1));
}

TEST(ChoosePlacement, CpuOpensNothing) {
  const auto placement = ChoosePlacement("cpu");
  ASSERT_TRUE(placement.ok());
  EXPECT_EQ(placement->engine, nullptr);
}

TEST(ChoosePlacement, AutoWithoutAnEngineIsTheCpu) {
  const WithoutEngine without;
  const auto placement = ChoosePlacement("auto");
  ASSERT_TRUE(placement.ok()) << placement.status();
  EXPECT_EQ(placement->engine, nullptr);
}

TEST(ChoosePlacement, CudaWithoutAnEngineIsAnErrorThatSaysWhatToDo) {
  const WithoutEngine without;
  const auto placement = ChoosePlacement("cuda:1");
  EXPECT_EQ(placement.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(placement.status().message()),
              testing::AllOf(HasSubstr("--device=cuda:1: no CUDA engine"),
                             HasSubstr("use --device=cpu")));
}

}  // namespace
}  // namespace fff::app

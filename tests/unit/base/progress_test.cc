#include "server/base/progress.h"

#include <chrono>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::base {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Progress, SaysHowFarAStageIs) {
  Progress progress;
  EXPECT_EQ(progress.view().ToString(), "waiting");
  progress.Begin("reading", 4300000000);
  EXPECT_TRUE(progress.Advance(1200000000).ok());
  EXPECT_EQ(progress.view().ToString(), "reading, 1.20 of 4.30 GB");
  progress.Begin("choosing kernels", 2500000);
  EXPECT_EQ(progress.view().ToString(), "choosing kernels, 0.00 of 2.50 MB");
  progress.Begin("checking", 0);
  EXPECT_EQ(progress.view().ToString(), "checking");
}

TEST(Progress, EndsAtTheNextStepOnceItIsCancelled) {
  Progress progress;
  EXPECT_TRUE(progress.Advance(1).ok());
  progress.Cancel();
  EXPECT_TRUE(absl::IsCancelled(progress.Advance(1)));
  EXPECT_EQ(progress.view().done, 2);
}

TEST(Progress, TellsOfLongWorkAlone) {
  std::vector<std::string> told;
  const auto tell = [&](const Progress::View& view) {
    told.push_back(view.ToString());
  };
  Progress quick(tell, std::chrono::hours(1));
  EXPECT_TRUE(quick.Advance(1).ok());
  EXPECT_THAT(told, IsEmpty());
  Progress slow(tell, std::chrono::seconds(0));
  slow.Begin("reading", 2000);
  EXPECT_TRUE(slow.Advance(500).ok());
  EXPECT_THAT(told, ElementsAre("reading, 0.50 of 2.00 KB"));
}

TEST(Progress, MayBeLeftOut) {
  Begin(nullptr, "reading", 1);
  EXPECT_TRUE(Advance(nullptr, 1).ok());
}

}  // namespace
}  // namespace fff::base

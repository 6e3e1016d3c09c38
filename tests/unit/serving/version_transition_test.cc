#include "server/serving/repository/version_transition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

namespace fff::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

VersionView Wanted(int64_t version) {
  VersionView view;
  view.version = version;
  view.wanted = true;
  view.settled = true;
  return view;
}

VersionView Served(VersionView view) {
  view.served = true;
  view.current = true;
  return view;
}

VersionView Failed(VersionView view) {
  view.failed = true;
  return view;
}

// Served from files that have been replaced since.
VersionView Outdated(VersionView view) {
  view.served = true;
  view.current = false;
  return view;
}

VersionView Unsettled(VersionView view) {
  view.settled = false;
  return view;
}

VersionView Unwanted(VersionView view) {
  view.wanted = false;
  return view;
}

VersionView Dismissed(VersionView view) {
  view.dismissed = true;
  return view;
}

// Carries out every step, loads of `broken` versions failing; "load 2".
std::vector<std::string> Steps(std::vector<VersionView> views,
                               const std::vector<int64_t>& broken = {}) {
  std::vector<std::string> steps;
  for (size_t i = 0; i <= 2 * views.size(); ++i) {
    const Transition next = NextTransition(views);
    if (next.kind == Transition::Kind::kNone) return steps;
    const bool load = next.kind == Transition::Kind::kLoad;
    steps.push_back(absl::StrCat(load ? "load " : "unload ", next.version));
    for (VersionView& view : views) {
      if (view.version != next.version) continue;
      const bool fails = std::count(broken.begin(), broken.end(), view.version);
      if (load && fails) {
        view.failed = true;
      } else {
        view.served = load;
        view.current = load;
      }
    }
  }
  ADD_FAILURE() << "more than two steps per version";
  return steps;
}

TEST(NextTransition, OfNothingIsNone) { EXPECT_THAT(Steps({}), IsEmpty()); }

TEST(NextTransition, LoadsTheHighestFirstSoThatTheDefaultIsThereFirst) {
  EXPECT_THAT(Steps({Wanted(1), Wanted(3), Wanted(2)}),
              ElementsAre("load 3", "load 2", "load 1"));
}

TEST(NextTransition, LoadsTheNewVersionBeforeTheOldOneGoes) {
  EXPECT_THAT(Steps({Unwanted(Served(Wanted(1))), Wanted(2)}),
              ElementsAre("load 2", "unload 1"));
}

TEST(NextTransition, KeepsTheOldVersionWhenTheNewOneFails) {
  EXPECT_THAT(Steps({Unwanted(Served(Wanted(1))), Wanted(2)}, {2}),
              ElementsAre("load 2"));
  EXPECT_THAT(Steps({Unwanted(Served(Wanted(1))), Failed(Wanted(2))}),
              IsEmpty());
}

TEST(NextTransition, KeepsTheOldVersionWhileTheNewOneIsStillBeingWritten) {
  EXPECT_THAT(Steps({Unwanted(Served(Wanted(1))), Unsettled(Wanted(2))}),
              IsEmpty());
}

TEST(NextTransition, TriesNoFailedFilesAgain) {
  EXPECT_THAT(Steps({Failed(Wanted(1))}), IsEmpty());
}

TEST(NextTransition, LoadsAgainWhatIsServedFromOlderFiles) {
  EXPECT_THAT(Steps({Outdated(Wanted(1))}), ElementsAre("load 1"));
  EXPECT_THAT(Steps({Unsettled(Outdated(Wanted(1)))}), IsEmpty());
  EXPECT_THAT(Steps({Failed(Outdated(Wanted(1)))}), IsEmpty())
      << "the older files go on serving";
}

TEST(NextTransition, UnloadsEverythingWhenNothingIsWanted) {
  EXPECT_THAT(Steps({Unwanted(Served(Wanted(2))), Unwanted(Served(Wanted(1)))}),
              ElementsAre("unload 1", "unload 2"));
}

TEST(NextTransition, UnloadsOldVersionsOnceOneThatIsWantedServes) {
  EXPECT_THAT(Steps({Unwanted(Served(Wanted(1))), Unwanted(Served(Wanted(2))),
                     Wanted(3), Wanted(4)},
                    {4}),
              ElementsAre("load 4", "load 3", "unload 1", "unload 2"));
}

TEST(NextTransition, GoesBackToALowerVersionWithoutAGap) {
  EXPECT_THAT(Steps({Wanted(1), Unwanted(Served(Wanted(2)))}),
              ElementsAre("load 1", "unload 2"));
}

TEST(NextTransition, UnloadsADismissedVersionAfterItsReplacementWasTried) {
  EXPECT_THAT(Steps({Wanted(1), Dismissed(Served(Wanted(2)))}),
              ElementsAre("load 1", "unload 2"));
  EXPECT_THAT(Steps({Wanted(1), Dismissed(Served(Wanted(2)))}, {1}),
              ElementsAre("load 1", "unload 2"))
      << "the operator's word counts more than something to serve";
}

TEST(NextTransition, NeverLoadsADismissedVersion) {
  EXPECT_THAT(Steps({Dismissed(Wanted(1))}), IsEmpty());
}

// Every combination of what can be known about two versions: something that
// serves goes on serving until a wanted one serves, is dismissed, or nothing is
// wanted; and the steps come to an end.
TEST(NextTransition, NeverLeavesAGapItCouldAvoid) {
  const auto view_of = [](int64_t version, unsigned bits) {
    VersionView view;
    view.version = version;
    view.wanted = (bits & 1) != 0;
    view.dismissed = (bits & 2) != 0;
    view.settled = (bits & 4) != 0;
    view.failed = (bits & 8) != 0;
    view.served = (bits & 16) != 0;
    view.current = view.served && (bits & 32) != 0;
    return view;
  };
  for (unsigned bits = 0; bits < 64 * 64; ++bits) {
    const std::vector<VersionView> views = {view_of(1, bits % 64),
                                            view_of(2, bits / 64)};
    Steps(views);
    const Transition next = NextTransition(views);
    if (next.kind != Transition::Kind::kUnload) continue;
    const VersionView& leaving = views[static_cast<size_t>(next.version - 1)];
    const VersionView& other = views[static_cast<size_t>(2 - next.version)];
    EXPECT_TRUE(leaving.served);
    EXPECT_FALSE(leaving.wanted && !leaving.dismissed);
    const bool other_wanted = other.wanted && !other.dismissed;
    EXPECT_TRUE(leaving.dismissed || !other_wanted || other.served);
  }
}

}  // namespace
}  // namespace fff::serving

#include "server/serving/repository/readiness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fff::serving {
namespace {

using ::testing::HasSubstr;

const ModelReadiness kLoaded = {"loaded", /*required=*/true, /*ready=*/true};
const ModelReadiness kBroken = {"broken", /*required=*/true, /*ready=*/false};
const ModelReadiness kExtra = {"extra", /*required=*/false, /*ready=*/false};

ReadyWhen When(const std::vector<std::string>& words) {
  return ReadyWhenOf(words, /*allow_empty=*/false);
}

std::string Why(const std::vector<std::string>& words,
                const std::vector<ModelReadiness>& models) {
  return WhyNotReady(When(words), models, /*has_served=*/true);
}

TEST(Readiness, OfAllWantsEveryRequiredModel) {
  EXPECT_EQ(Why({"all"}, {kLoaded, kExtra}), "");
  EXPECT_THAT(Why({"all"}, {kLoaded, kBroken}), HasSubstr("'broken'"));
}

TEST(Readiness, OfAnyWantsOneModel) {
  EXPECT_EQ(Why({"any"}, {kBroken, kLoaded}), "");
  EXPECT_EQ(Why({"any"}, {kBroken}), "no model is loaded");
  EXPECT_EQ(Why({"any"}, {}), "no model is loaded");
}

TEST(Readiness, OfNamesWantsTheseWhateverTheOthersDo) {
  EXPECT_EQ(Why({"loaded"}, {kBroken, kLoaded}), "");
  EXPECT_THAT(Why({"loaded", "broken"}, {kBroken, kLoaded}),
              HasSubstr("'broken'"));
  EXPECT_THAT(Why({"absent"}, {kLoaded}), HasSubstr("'absent'"));
}

TEST(Readiness, OfAnEmptyServerWantsAModelOrPermission) {
  EXPECT_EQ(WhyNotReady(When({"all"}), {}, /*has_served=*/false),
            "no model has been served yet");
  EXPECT_EQ(WhyNotReady(When({"all"}), {kExtra}, /*has_served=*/false),
            "no model has been served yet");
  EXPECT_EQ(WhyNotReady(ReadyWhenOf({"all"}, /*allow_empty=*/true), {},
                        /*has_served=*/false),
            "");
}

TEST(Readiness, StaysWhenTheLastModelIsRemoved) {
  EXPECT_EQ(WhyNotReady(When({"all"}), {}, /*has_served=*/true), "");
}

}  // namespace
}  // namespace fff::serving

#include "server/serving/repository/version_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fff::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = importer::VersionPolicy::Kind;

importer::VersionPolicy Policy(Kind kind, int64_t latest = 1,
                               std::vector<int64_t> specific = {}) {
  return {kind, latest, std::move(specific)};
}

TEST(ChooseVersions, ServesTheHighestByDefault) {
  EXPECT_THAT(ChooseVersions(importer::VersionPolicy(), {1, 2, 10}),
              ElementsAre(10));
}

TEST(ChooseVersions, ServesTheHighestOnesThatAreAskedFor) {
  EXPECT_THAT(ChooseVersions(Policy(Kind::kLatest, 2), {1, 2, 10}),
              ElementsAre(2, 10));
  EXPECT_THAT(ChooseVersions(Policy(Kind::kLatest, 3), {1, 2, 10}),
              ElementsAre(1, 2, 10));
  EXPECT_THAT(ChooseVersions(Policy(Kind::kLatest, 99), {1, 2, 10}),
              ElementsAre(1, 2, 10));
}

TEST(ChooseVersions, OfAnEmptyDirectoryAreNone) {
  EXPECT_THAT(ChooseVersions(Policy(Kind::kLatest, 2), {}), IsEmpty());
  EXPECT_THAT(ChooseVersions(Policy(Kind::kAll), {}), IsEmpty());
}

TEST(ChooseVersions, ServesAll) {
  EXPECT_THAT(ChooseVersions(Policy(Kind::kAll), {1, 2, 10}),
              ElementsAre(1, 2, 10));
}

TEST(ChooseVersions, ServesThoseThatAreListedOnceAndInOrder) {
  EXPECT_THAT(
      ChooseVersions(Policy(Kind::kSpecific, 1, {10, 1, 10}), {1, 2, 10}),
      ElementsAre(1, 10));
}

TEST(ChooseVersions, KeepsAListedVersionThatIsMissingSoThatItIsReported) {
  EXPECT_THAT(ChooseVersions(Policy(Kind::kSpecific, 1, {7}), {1, 2}),
              ElementsAre(7));
  EXPECT_THAT(ChooseVersions(Policy(Kind::kSpecific, 1, {7}), {}),
              ElementsAre(7));
}

}  // namespace
}  // namespace fff::serving

#include "server/base/near_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fff::base {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<std::string> kNames = {"grpc-port", "http-port", "host",
                                         "log-level", "log-format"};

TEST(NearMatch, FindsTheFewestEdits) {
  EXPECT_THAT(NearMatches("grcp-port", kNames), ElementsAre("grpc-port"));
  EXPECT_THAT(NearMatches("LOG-LEVL", kNames), ElementsAre("log-level"));
  EXPECT_THAT(NearMatches("hots", kNames), ElementsAre("host"));
}

TEST(NearMatch, FindsNamesOfWhichItIsAPart) {
  EXPECT_THAT(NearMatches("port", kNames),
              ElementsAre("grpc-port", "http-port"));
}

TEST(NearMatch, FindsNothingFar) {
  EXPECT_THAT(NearMatches("bananas", kNames), IsEmpty());
  EXPECT_THAT(NearMatches("", kNames), IsEmpty());
  EXPECT_THAT(NearMatches(std::string(10000, 'a'), kNames), IsEmpty());
  EXPECT_EQ(DidYouMean("bananas", kNames), "");
}

TEST(NearMatch, AsksForWhatWasMeant) {
  EXPECT_EQ(DidYouMean("port", kNames),
            "; did you mean \"grpc-port\" or \"http-port\"?");
}

TEST(NearMatch, ExplainsOptionsWithoutTheirValues) {
  EXPECT_EQ(ExplainUnexpected({"--port", "1", "--xyz=2"},
                              {"--grpc-port", "--http-port"}),
            "--port is not known; did you mean --grpc-port or --http-port?\n"
            "--xyz is not known\n");
  EXPECT_EQ(ExplainUnexpected({"predit", "a"}, {"predict", "--port"}),
            "predit is not known; did you mean predict?\n");
  EXPECT_EQ(ExplainUnexpected({}, {"--port"}), "");
}

}  // namespace
}  // namespace fff::base

#include "server/app/http_connections.h"

#include <gtest/gtest.h>

namespace fff::app {
namespace {

constexpr HttpLimits kLimits = {4, 2};

TEST(ConnectionToClose, NoneWhileThereIsRoom) {
  EXPECT_EQ(ConnectionToClose({}, "a", kLimits), std::nullopt);
  EXPECT_EQ(ConnectionToClose({{0, "a"}, {1, "b"}, {2, "c"}}, "a", kLimits),
            std::nullopt);
}

TEST(ConnectionToClose, TheOldestOfAnAddressThatHasItsShare) {
  EXPECT_EQ(ConnectionToClose({{0, "b"}, {1, "a"}, {5, "a"}}, "a", kLimits), 1);
  EXPECT_EQ(
      ConnectionToClose({{0, "b"}, {1, "a"}, {5, "a"}, {6, "b"}}, "a", kLimits),
      1)
      << "an address makes room at its own cost";
}

TEST(ConnectionToClose, ElseTheOldestOfAll) {
  EXPECT_EQ(
      ConnectionToClose({{3, "b"}, {4, "a"}, {5, "a"}, {6, "b"}}, "c", kLimits),
      3);
}

TEST(ConnectionToClose, TheDefaultsLeaveRoomForOtherAddresses) {
  const HttpLimits defaults;
  EXPECT_LE(2 * defaults.connections_per_address, defaults.connections);
  EXPECT_LE(defaults.connections, 512u) << "half of the files that are usual";
}

}  // namespace
}  // namespace fff::app

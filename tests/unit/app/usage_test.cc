#include "server/app/usage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fff::app {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Usage, AVariableThatNoOptionHasIsNamedWithTheNearest) {
  EXPECT_THAT(UnknownVariables({"PATH=/bin", "FFF_GPRC_PORT=1", "FFF_HOST=::"},
                               {"FFF_GRPC_PORT", "FFF_HOST"}),
              ElementsAre("variable FFF_GPRC_PORT is no option and changes "
                          "nothing; did you mean \"FFF_GRPC_PORT\"?"));
}

TEST(Usage, VariablesOfOthersAreNoMistakes) {
  EXPECT_THAT(
      UnknownVariables({"FFF_SERVER=h:1", "FFF_TOKEN_FILE=/t",
                        "FFF_SERVING_SERVICE_HOST=10.0.0.1",
                        "FFF_SERVING_PORT=tcp://10.0.0.1:8001",
                        "FFF_SERVING_PORT_8001_TCP_ADDR=10.0.0.1", "FFF_"},
                       {"FFF_HOST"}),
      IsEmpty());
}

}  // namespace
}  // namespace fff::app

#include "server/app/host_flag.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace fff::app {
namespace {

using ::testing::HasSubstr;

std::string Refusal(const std::string& text) {
  const auto host = ParseHost(text);
  EXPECT_EQ(host.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(host.status().message());
}

TEST(ParseHost, TakesAddressesAndNamesAsTheyAre) {
  for (const char* host :
       {"127.0.0.1", "::1", "::", "0.0.0.0", "localhost", "::ffff:1.2.3.4",
        "fe80::1%eth0", "unix:a/b.sock", "unix:/run/fff.sock"}) {
    EXPECT_EQ(ParseHost(host).value_or("refused"), host);
  }
}

TEST(ParseHost, DropsBracketsAndSlashes) {
  EXPECT_EQ(ParseHost("[::1]").value_or("refused"), "::1");
  EXPECT_EQ(ParseHost("[::]").value_or("refused"), "::");
  EXPECT_EQ(ParseHost("unix:///run/a").value_or("refused"), "unix:/run/a");
}

TEST(ParseHost, APortIsForItsFlag) {
  for (const char* text :
       {"127.0.0.1:8001", "localhost:8001", "[::1]:8001", "host:", ":8001"}) {
    EXPECT_EQ(Refusal(text), std::string("got '") + text +
                                 "', wanted an address without a port: "
                                 "--grpc-port and --http-port take the ports");
  }
}

TEST(ParseHost, SaysWhatItWantsInstead) {
  EXPECT_THAT(Refusal(""), HasSubstr("got '', wanted an address such as"));
  EXPECT_THAT(Refusal("http://::1"), HasSubstr("wanted an address such as"));
  EXPECT_THAT(Refusal("1::2::3"), HasSubstr("wanted an IPv6 address"));
  for (const char* text : {"[127.0.0.1]", "[::1", "[]", "["}) {
    EXPECT_THAT(Refusal(text), HasSubstr("wanted an IPv6 address between"));
  }
  for (const char* text : {"unix:", "unix://", "unix://run/a"}) {
    EXPECT_THAT(Refusal(text), HasSubstr("wanted unix:PATH or unix:///PATH"));
  }
}

TEST(IsLoopback, IsTrueForThisMachineAlone) {
  for (const char* host : {"127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1",
                           "localhost", "unix:/run/fff.sock"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host :
       {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "::2", "::ffff:10.0.0.1",
        "localhost.example.com", "127.0.0.1.example.com", "127.1", ""}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(HttpHost, IsThatOfGrpcOrLoopback) {
  EXPECT_EQ(HttpHost("::"), "::");
  EXPECT_EQ(HttpHost("unix:/run/fff.sock"), "127.0.0.1");
}

}  // namespace
}  // namespace fff::app

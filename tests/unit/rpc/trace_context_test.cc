#include "server/rpc/observe/trace_context.h"

#include <gtest/gtest.h>

namespace fff::rpc {
namespace {

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";

std::string Header(const std::string& version, const std::string& flags) {
  return version + "-" + kTrace + "-" + kSpan + "-" + flags;
}

TEST(ParseTraceparent, ReadsIdsAndTheSampledFlag) {
  const auto sampled = ParseTraceparent(Header("00", "01"));
  ASSERT_TRUE(sampled.has_value());
  EXPECT_EQ(sampled->trace_id, kTrace);
  EXPECT_EQ(sampled->span_id, kSpan);
  EXPECT_TRUE(sampled->sampled);
  EXPECT_FALSE(ParseTraceparent(Header("00", "00"))->sampled);
  EXPECT_FALSE(ParseTraceparent(Header("00", "02"))->sampled);
  EXPECT_TRUE(ParseTraceparent(Header("00", "0b"))->sampled);
}

TEST(ParseTraceparent, TakesLaterVersionsWithMoreFields) {
  EXPECT_TRUE(ParseTraceparent(Header("01", "01")).has_value());
  EXPECT_TRUE(ParseTraceparent(Header("cc", "01-more")).has_value());
  EXPECT_FALSE(ParseTraceparent(Header("00", "01-more")).has_value());
  EXPECT_FALSE(ParseTraceparent(Header("cc", "01more")).has_value());
}

TEST(ParseTraceparent, IgnoresWhatIsMalformed) {
  const std::string good = Header("00", "01");
  EXPECT_FALSE(ParseTraceparent("").has_value());
  EXPECT_FALSE(ParseTraceparent(good.substr(1)).has_value());
  EXPECT_FALSE(ParseTraceparent(Header("ff", "01")).has_value());
  EXPECT_FALSE(ParseTraceparent(Header("0x", "01")).has_value());
  for (const size_t dash : {size_t{2}, size_t{35}, size_t{52}}) {
    std::string broken = good;
    broken[dash] = '_';
    EXPECT_FALSE(ParseTraceparent(broken).has_value()) << dash;
  }
  for (const size_t digit : {4u, 40u, 53u}) {
    std::string broken = good;
    broken[digit] = 'G';
    EXPECT_FALSE(ParseTraceparent(broken).has_value()) << digit;
    broken[digit] = 'A';  // upper case is not allowed
    EXPECT_FALSE(ParseTraceparent(broken).has_value()) << digit;
  }
  EXPECT_FALSE(
      ParseTraceparent("00-" + std::string(32, '0') + "-" + kSpan + "-01")
          .has_value());
  EXPECT_FALSE(ParseTraceparent(std::string("00-") + kTrace + "-" +
                                std::string(16, '0') + "-01")
                   .has_value());
}

}  // namespace
}  // namespace fff::rpc

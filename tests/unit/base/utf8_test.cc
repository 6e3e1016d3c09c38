#include "server/base/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace fff::base {
namespace {

TEST(Utf8Test, MeasuresTheFirstCharacter) {
  EXPECT_EQ(Utf8CharacterBytes(""), 0u);
  EXPECT_EQ(Utf8CharacterBytes("ab"), 1u);
  EXPECT_EQ(Utf8CharacterBytes(absl::string_view("\0", 1)), 1u);
  EXPECT_EQ(Utf8CharacterBytes("\u00fcx"), 2u);
  EXPECT_EQ(Utf8CharacterBytes("\u20acx"), 3u);
  EXPECT_EQ(Utf8CharacterBytes("\U0001f600x"), 4u);
}

TEST(Utf8Test, AcceptsTheEdgesOfEachLength) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("\x7f\xc2\x80\xdf\xbf"));
  EXPECT_TRUE(IsUtf8("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"));
  EXPECT_TRUE(IsUtf8("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
}

TEST(Utf8Test, RefusesOverlongForms) {
  EXPECT_FALSE(IsUtf8("\xc0\x80"));
  EXPECT_FALSE(IsUtf8("\xc1\xbf"));
  EXPECT_FALSE(IsUtf8("\xe0\x9f\xbf"));
  EXPECT_FALSE(IsUtf8("\xf0\x8f\xbf\xbf"));
}

TEST(Utf8Test, RefusesSurrogatesAndWhatIsAboveTheRange) {
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));
  EXPECT_FALSE(IsUtf8("\xed\xbf\xbf"));
  EXPECT_FALSE(IsUtf8("\xf4\x90\x80\x80"));
  EXPECT_FALSE(IsUtf8("\xf5\x80\x80\x80"));
}

TEST(Utf8Test, RefusesStrayAndMissingContinuations) {
  EXPECT_FALSE(IsUtf8("\x80"));
  EXPECT_FALSE(IsUtf8("ab\xbf"));
  EXPECT_FALSE(IsUtf8("\xc3"));
  EXPECT_FALSE(IsUtf8("\xe2\x82"));
  EXPECT_FALSE(IsUtf8("\xe2\x28\xa1"));
  EXPECT_FALSE(IsUtf8("\xf0\x9f\x98z"));
  EXPECT_FALSE(IsUtf8("\xff"));
}

}  // namespace
}  // namespace fff::base

#include "server/base/log.h"

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/log_event.h"
#include "server/base/utf8.h"

namespace fff::base {
namespace {

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

TEST(LogEventTest, FieldsAreJsonWhateverTheyHold) {
  EXPECT_EQ(LogField("model", "a\"b\n").json, R"("a\"b\\x0a")");
  EXPECT_EQ(LogField("version", int64_t{-3}).json, "-3");
  EXPECT_EQ(LogField("seconds", 0.5).json, "0.5");
  EXPECT_EQ(LogField("seconds", std::nan("")).json, "null");
}

TEST(PrintableTest, KeepsOrdinaryText) {
  EXPECT_EQ(Printable(""), "");
  EXPECT_EQ(Printable("layers.0/w1s \\ \"x\" %s {}"),
            "layers.0/w1s \\ \"x\" %s {}");
  EXPECT_EQ(Printable("\u00fc\u20ac\U0001f600"), "\u00fc\u20ac\U0001f600");
}

TEST(PrintableTest, EscapesControlCharacters) {
  EXPECT_EQ(Printable("a\nb\r\t\x1b[31m\x7f"),
            "a\\x0ab\\x0d\\x09\\x1b[31m\\x7f");
  EXPECT_EQ(Printable(absl::string_view("a\0b", 3)), "a\\x00b");
}

TEST(PrintableTest, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(Printable("a\xff"
                      "b"),
            "a\\xffb");
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");
  EXPECT_EQ(Printable("\xc0\xaf"), "\\xc0\\xaf");
}

TEST(PrintableTest, CutsLongTextAndSaysHowLongItWas) {
  EXPECT_EQ(Printable("abcdef", 6), "abcdef");
  EXPECT_EQ(Printable("abcdefg", 6), "abcdef... (7 bytes)");
  EXPECT_EQ(Printable("abc", 0), "... (3 bytes)");
}

TEST(PrintableTest, CutsBetweenCharacters) {
  EXPECT_EQ(Printable("ab\u20ac", 4), "ab... (5 bytes)");
  EXPECT_EQ(Printable("ab\u20ac", 5), "ab\u20ac");
}

TEST(PrintableTest, YieldsUtf8FromAnyTwoBytes) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text = {static_cast<char>(first),
                                static_cast<char>(second)};
      const std::string printable = Printable(text);
      EXPECT_TRUE(IsUtf8(printable)) << first << " " << second;
      EXPECT_EQ(printable.find('\n'), std::string::npos);
    }
  }
}

TEST(LogTest, WritesOneLineWithTimeAndLevel) {
  testing::internal::CaptureStderr();
  LogInfo("loaded model=a {} %s");
  LogWarning("slow");
  LogError("gone");
  const auto lines = Lines(testing::internal::GetCapturedStderr());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], testing::MatchesRegex(
                            "[0-9]+-[0-9]+-[0-9]+T[0-9:.]+[+-][0-9:]+ info "
                            "loaded model=a [{][}] %s"));
  EXPECT_THAT(lines[1], testing::EndsWith(" warning slow"));
  EXPECT_THAT(lines[2], testing::EndsWith(" error gone"));
}

TEST(LogTest, DropsWhatIsBelowTheLevel) {
  testing::internal::CaptureStderr();
  SetLogLevel(LogLevel::kError);
  LogInfo("no");
  LogWarning("no");
  LogError("yes");
  SetLogLevel(LogLevel::kDebug);
  Log(LogLevel::kDebug, "now");
  LogInfo("flush");
  SetLogLevel(LogLevel::kInfo);
  const auto lines = Lines(testing::internal::GetCapturedStderr());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], testing::EndsWith(" error yes"));
  EXPECT_THAT(lines[1], testing::EndsWith(" debug now"));
}

TEST(LogTest, KeepsLinesWholeAcrossThreads) {
  testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 50; ++i) {
        LogInfo(absl::StrCat("thread ", t, " says ", i, " and ends"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto lines = Lines(testing::internal::GetCapturedStderr());
  EXPECT_EQ(lines.size(), 200u);
  for (const std::string& line : lines) {
    EXPECT_THAT(line, testing::MatchesRegex(
                          ".* info thread [0-3] says [0-9]+ and ends"));
  }
}

TEST(AppendJsonString, EscapesWhatJsonWants) {
  std::string out = "x";
  AppendJsonString("a\"\\\n\xff", out);
  EXPECT_EQ(out, "x\"a\\\"\\\\\\\\x0a\\\\xff\"");
}

}  // namespace
}  // namespace fff::base

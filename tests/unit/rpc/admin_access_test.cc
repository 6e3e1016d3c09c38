#include "server/rpc/access/admin_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/serving/temp_repository.h"

namespace fff::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "s3cret-token";

// "OK", or the code of a call that shows `authorization`.
std::string Answer(const AdminOptions& options, absl::string_view token,
                   const AdminCaller& caller) {
  const absl::Status status = CheckAdmin(options, token, caller, "LoadModel");
  if (status.ok()) return "OK";
  EXPECT_THAT(std::string(status.message()), HasSubstr("LoadModel"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr(kToken)));
  return absl::StatusCodeToString(status.code());
}

std::string WithToken(const std::string& authorization) {
  return Answer({}, kToken, {authorization, {}});
}

TEST(SameToken, IsTrueForTheTokenAlone) {
  EXPECT_TRUE(SameToken("abc", "abc"));
  EXPECT_FALSE(SameToken("abd", "abc"));
  EXPECT_FALSE(SameToken("bbc", "abc"));
  EXPECT_FALSE(SameToken("", "abc"));
  EXPECT_FALSE(SameToken("ab", "abc"));
  EXPECT_FALSE(SameToken("abca", "abc"));
  EXPECT_FALSE(SameToken("abcabc", "abc"));
}

TEST(SameToken, OfNoTokenIsNever) {
  EXPECT_FALSE(SameToken("", ""));
  EXPECT_FALSE(SameToken("abc", ""));
}

TEST(CheckAdmin, TakesTheTokenAlone) {
  EXPECT_EQ(WithToken("Bearer s3cret-token"), "OK");
  EXPECT_EQ(WithToken("bearer s3cret-token"), "OK");
  EXPECT_EQ(WithToken("Bearer s3cret-token "), "OK");
  for (const char* wrong :
       {"", "Bearer", "Bearer ", "Bearer wrong", "s3cret-token",
        "Basic s3cret-token", "Bearer s3cret-toke", "Bearer s3cret-tokens",
        "Bearer S3CRET-TOKEN", "Bearer s3cret-token,s3cret-token"}) {
    EXPECT_EQ(WithToken(wrong), "UNAUTHENTICATED") << wrong;
  }
}

TEST(CheckAdmin, ATokenCountsEvenWhereEveryoneMay) {
  AdminOptions options;
  options.everyone = true;
  EXPECT_EQ(Answer(options, kToken, {}), "UNAUTHENTICATED");
  EXPECT_EQ(Answer(options, "", {}), "OK");
}

TEST(CheckAdmin, TakesACertificateOfAnAllowedName) {
  AdminOptions options;
  options.client_names = {"operator", "ci.example"};
  EXPECT_EQ(Answer(options, "", {"", {"operator"}}), "OK");
  EXPECT_EQ(Answer(options, "", {"", {"somebody", "ci.example"}}), "OK");
  EXPECT_EQ(Answer(options, "", {"", {"somebody"}}), "PERMISSION_DENIED");
  EXPECT_EQ(Answer(options, "", {"", {"operator2"}}), "PERMISSION_DENIED");
  EXPECT_EQ(Answer(options, "", {}), "PERMISSION_DENIED");
  EXPECT_EQ(Answer(options, "", {"Bearer operator", {}}), "PERMISSION_DENIED");
}

TEST(CheckAdmin, EitherOfTokenAndCertificateIsEnough) {
  AdminOptions options;
  options.client_names = {"operator"};
  EXPECT_EQ(Answer(options, kToken, {"", {"operator"}}), "OK");
  EXPECT_EQ(Answer(options, kToken, {"Bearer s3cret-token", {"somebody"}}),
            "OK");
  EXPECT_EQ(Answer(options, kToken, {"", {"somebody"}}), "UNAUTHENTICATED");
}

TEST(CheckAdmin, WithoutAnyOfThemTheNetworkMayNot) {
  AdminOptions options;
  options.everyone = false;
  EXPECT_EQ(Answer(options, "", {"Bearer anything", {"anybody"}}),
            "PERMISSION_DENIED");
}

TEST(ReadToken, LeavesOutBlanksAtTheEnds) {
  serving::TempRepository files;
  files.AddFile("token", " s3cret-token\n");
  EXPECT_EQ(*ReadToken((files / "token").string()), kToken);
}

TEST(ReadToken, RefusesFilesWithoutAUsableToken) {
  serving::TempRepository files;
  const auto code = [&](const std::string& content) {
    files.AddFile("token", content);
    return ReadToken((files / "token").string()).status().code();
  };
  EXPECT_EQ(code(""), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("\n\n"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(kTokenBytesMax + 1, 'x')),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(kTokenBytesMax, 'x')), absl::StatusCode::kOk);
  EXPECT_EQ(ReadToken("/nonexistent/token").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace fff::rpc

#include "server/rpc/messages/status_mapping.h"

#include <gmock/gmock.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/rpc/messages/bad_field.h"
#include "server/serving/batching/retry_after.h"

namespace fff::rpc {
namespace {

using ::testing::HasSubstr;

TEST(ToGrpc, KeepsOk) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_EQ(ToGrpc(absl::OkStatus()).error_message(), "");
}

TEST(ToGrpc, KeepsEveryCodeAndItsMessage) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status =
        ToGrpc(absl::Status(static_cast<absl::StatusCode>(code), "why"));
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_EQ(status.error_message(), "why");
    EXPECT_EQ(status.error_details(), "");
  }
}

// The bytes of google.rpc.Status{8, "full", [Any{RetryInfo{2.5 s}}]}.
TEST(ToGrpc, ATimeToRetryAfterBecomesADetail) {
  absl::Status status = absl::ResourceExhaustedError("full");
  serving::SetRetryAfter(std::chrono::milliseconds(2500), status);
  const std::string info("\x0a\x08\x08\x02\x10\x80\xca\xb5\xee\x01", 10);
  const std::string url = "type.googleapis.com/google.rpc.RetryInfo";
  const std::string any = "\x0a\x28" + url + "\x12\x0a" + info;
  EXPECT_EQ(ToGrpc(status).error_details(),
            "\x08\x08\x12\x04"
            "full\x1a\x36" +
                any);
  EXPECT_EQ(ToGrpc(status).error_message(), "full");
}

// The bytes of google.rpc.Status{3, "no", [Any{BadRequest{[{"x", "no"}]}}]}.
TEST(ToGrpc, TheFieldThatWasWrongBecomesADetail) {
  const absl::Status status = InField("x", absl::InvalidArgumentError("no"));
  const std::string bad = std::string("\x0a\x07\x0a\x01x\x12\x02no");
  const std::string url = "type.googleapis.com/google.rpc.BadRequest";
  const std::string any = "\x0a\x29" + url + "\x12\x09" + bad;
  EXPECT_EQ(ToGrpc(status).error_details(), "\x08\x03\x12\x02no\x1a\x36" + any);
  EXPECT_EQ(ToGrpc(status).error_message(), "no");
  // The innermost field is the one that says most.
  EXPECT_EQ(BadField(InField("outer", status)), "x");
  EXPECT_EQ(BadField(InField("x", absl::OkStatus())), std::nullopt);
}

TEST(ToGrpc, DetailsReadBackAsTheGeneratedMessages) {
  absl::Status full = absl::ResourceExhaustedError("full");
  serving::SetRetryAfter(std::chrono::milliseconds(3000), full);
  google::rpc::Status status;
  ASSERT_TRUE(status.ParseFromString(ToGrpc(full).error_details()));
  EXPECT_EQ(status.code(), 8);
  EXPECT_EQ(status.message(), "full");
  ASSERT_EQ(status.details_size(), 1);
  google::rpc::RetryInfo info;
  ASSERT_TRUE(status.details(0).UnpackTo(&info));
  EXPECT_EQ(info.retry_delay().seconds(), 3);
  EXPECT_EQ(info.retry_delay().nanos(), 0);
  // What is not UTF-8 was written out before: a string field may hold no other.
  const auto bad = InField("x", absl::InvalidArgumentError("a\xff"));
  ASSERT_TRUE(status.ParseFromString(ToGrpc(bad).error_details()));
  google::rpc::BadRequest request;
  ASSERT_TRUE(status.details(0).UnpackTo(&request));
  ASSERT_EQ(request.field_violations_size(), 1);
  EXPECT_EQ(request.field_violations(0).field(), "x");
  EXPECT_EQ(request.field_violations(0).description(), "a\\xff");
}

TEST(ToGrpc, DetailsOfLongMessagesFitTheHeaderToo) {
  for (const std::string unit : {"x", "\n", "%", "\xc3\xa4", "\xff"}) {
    std::string message;
    while (message.size() < 20000) message += unit;
    const grpc::Status status =
        ToGrpc(InField("input.shape", absl::InvalidArgumentError(message)));
    EXPECT_LE(status.error_details().size() * 4 / 3, 3000u) << unit;
    EXPECT_THAT(status.error_details(), HasSubstr("input.shape"));
    EXPECT_THAT(status.error_details(), HasSubstr("(20000 bytes)"));
  }
}

TEST(ToGrpc, NamesMatchTheCodesThatClientsKnow) {
  EXPECT_EQ(ToGrpc(absl::InvalidArgumentError("")).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ToGrpc(absl::ResourceExhaustedError("")).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ToGrpc(absl::UnavailableError("")).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ToGrpc(absl::DeadlineExceededError("")).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(ToGrpc, WritesControlCharactersOut) {
  const std::string message("a\r\nb\0c", 6);
  EXPECT_EQ(ToGrpc(absl::InternalError(message)).error_message(),
            "a\\x0d\\x0ab\\x00c");
}

// The message travels percent-encoded in a header, of which peers take 8 KiB.
size_t HeaderBytes(const std::string& message) {
  size_t bytes = 0;
  for (const char c : message) {
    bytes += c >= 0x20 && c <= 0x7e && c != '%' ? 1 : 3;
  }
  return bytes;
}

TEST(ToGrpc, CutsLongMessagesAndSaysSo) {
  const grpc::Status status =
      ToGrpc(absl::InternalError(std::string(100000, 'x')));
  EXPECT_EQ(status.error_message().substr(0, 10), "xxxxxxxxxx");
  EXPECT_THAT(status.error_message(), HasSubstr("... (100000 bytes)"));
  EXPECT_LE(status.error_message().size(), 4200u);
}

TEST(ToGrpc, KeepsMessagesOfAFewKilobytesWhole) {
  const std::string message(3000, 'x');
  EXPECT_EQ(ToGrpc(absl::InternalError(message)).error_message(), message);
}

TEST(ToGrpc, FitsAHeaderWhateverTheMessageHolds) {
  for (const std::string unit : {"x", "\n", "%", "\xc3\xa4", "\xff", "\x7f"}) {
    std::string message;
    while (message.size() < 20000) message += unit;
    EXPECT_LE(HeaderBytes(ToGrpc(absl::InternalError(message)).error_message()),
              7000u)
        << unit;
  }
}

TEST(ToGrpc, DoesNotCutACharacterInTwo) {
  for (size_t lead = 0; lead < 4; ++lead) {
    std::string message(lead, 'x');
    while (message.size() < 20000) message += "\xe2\x82\xac";
    const std::string cut =
        ToGrpc(absl::InternalError(message)).error_message();
    const std::string text = cut.substr(0, cut.find("..."));
    EXPECT_EQ((text.size() - lead) % 3, 0u);
  }
}

}  // namespace
}  // namespace fff::rpc

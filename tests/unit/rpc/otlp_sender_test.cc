#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/rpc/tracing/span_sender.h"
#include "tests/unit/rpc/span_receiver.h"
#include "tests/unit/rpc/test_certificates.h"

namespace fff::rpc {
namespace {

using ::testing::HasSubstr;

TEST(ParseOtlpEndpoint, TakesHostsAndUrls) {
  const auto target = [](const char* text) {
    const auto parsed = ParseOtlpEndpoint(text);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return parsed.ok() ? absl::StrCat(parsed->target, parsed->tls ? " tls" : "")
                       : "";
  };
  EXPECT_EQ(target("collector:4000"), "collector:4000");
  EXPECT_EQ(target("collector"), "collector:4317");
  EXPECT_EQ(target("http://collector:1/"), "collector:1");
  EXPECT_EQ(target("https://collector.ns.svc"), "collector.ns.svc:4317 tls");
  EXPECT_EQ(target("[::1]"), "[::1]:4317");
  EXPECT_EQ(target("https://[fd00::2]:65535"), "[fd00::2]:65535 tls");
}

TEST(ParseOtlpEndpoint, RefusesAnythingElse) {
  for (const char* text : {"",
                           ":4317",
                           "http://",
                           "https:///",
                           "a:0",
                           "a:65536",
                           "a:b",
                           "a:",
                           "a:1:2",
                           "::1",
                           "[::1",
                           "::1]:1",
                           "[]:1",
                           "[::1]x:1",
                           "a b",
                           "a,b",
                           "http://a/v1/traces",
                           "u@a",
                           "a?b",
                           "ftp://a",
                           "unix:/a",
                           "http://https://a"}) {
    const auto parsed = ParseOtlpEndpoint(text);
    ASSERT_FALSE(parsed.ok()) << text << " " << parsed->target;
    EXPECT_THAT(parsed.status().message(),
                HasSubstr(absl::StrCat("got '", text, "', wanted host:port")));
  }
}

// Long enough for a machine that does other things.
constexpr absl::Duration kLong = absl::Minutes(1);

std::unique_ptr<SpanSender> SenderTo(const OtlpEndpoint& endpoint) {
  auto sender = MakeOtlpSender(endpoint, "");
  EXPECT_TRUE(sender.ok()) << sender.status();
  return *std::move(sender);
}

otlp::ExportTraceServiceRequest OneSpan() {
  otlp::ExportTraceServiceRequest request;
  request.add_resource_spans()->add_scope_spans()->add_spans()->set_name("a");
  return request;
}

TEST(OtlpSender, SendsABatchAndTheNext) {
  SpanReceiver receiver;
  const auto sender = SenderTo(receiver.endpoint());
  for (int i = 0; i < 3; ++i) {
    const Sent sent = sender->Send(OneSpan(), kLong);
    EXPECT_TRUE(sent.status.ok()) << sent.status;
    EXPECT_EQ(sent.rejected, 0);
  }
  ASSERT_EQ(receiver.batches().size(), 3u);
  EXPECT_EQ(receiver.batches()[2].SerializeAsString(),
            OneSpan().SerializeAsString());
}

TEST(OtlpSender, TellsWhatTheReceiverRefused) {
  SpanReceiver receiver;
  receiver.answer.mutable_partial_success()->set_rejected_spans(2);
  receiver.answer.mutable_partial_success()->set_error_message("too old");
  const Sent sent = SenderTo(receiver.endpoint())->Send(OneSpan(), kLong);
  EXPECT_TRUE(sent.status.ok());
  EXPECT_EQ(sent.rejected, 2);
  EXPECT_EQ(sent.reason, "too old");
}

TEST(OtlpSender, KnowsWhichFailuresMayPass) {
  SpanReceiver receiver;
  const auto sender = SenderTo(receiver.endpoint());
  using grpc::StatusCode;
  for (const auto& [code, retry] :
       {std::pair{StatusCode::UNAVAILABLE, true},
        std::pair{StatusCode::ABORTED, true},
        std::pair{StatusCode::RESOURCE_EXHAUSTED, false},
        std::pair{StatusCode::UNIMPLEMENTED, false},
        std::pair{StatusCode::UNAUTHENTICATED, false}}) {
    receiver.status = grpc::Status(code, "no");
    const Sent sent = sender->Send(OneSpan(), kLong);
    EXPECT_EQ(static_cast<int>(sent.status.code()), static_cast<int>(code));
    EXPECT_EQ(sent.status.message(), "no");
    EXPECT_EQ(sent.retry, retry) << code;
    EXPECT_EQ(sent.retry_delay, std::nullopt);
  }
}

TEST(OtlpSender, ReadsWhenTheReceiverWantsTheNextTry) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(2);
  info.mutable_retry_delay()->set_nanos(500'000'000);
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  SpanReceiver receiver;
  receiver.status = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full",
                                 details.SerializeAsString());
  const auto sender = SenderTo(receiver.endpoint());
  const Sent sent = sender->Send(OneSpan(), kLong);
  EXPECT_TRUE(sent.retry);
  EXPECT_EQ(sent.retry_delay, absl::Seconds(2.5));
  receiver.status =
      grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", "no details");
  EXPECT_FALSE(sender->Send(OneSpan(), kLong).retry);
}

TEST(OtlpSender, AReceiverThatIsNotThereIsUnavailable) {
  OtlpEndpoint nobody;
  {
    const SpanReceiver receiver;
    nobody = receiver.endpoint();
  }
  const Sent sent = SenderTo(nobody)->Send(OneSpan(), kLong);
  EXPECT_EQ(sent.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(sent.retry);
}

TEST(OtlpSender, AReceiverThatDoesNotAnswerIsGivenUp) {
  SpanReceiver receiver;
  receiver.hang = true;
  const auto sender = SenderTo(receiver.endpoint());
  const Sent sent = sender->Send(OneSpan(), absl::Milliseconds(100));
  EXPECT_EQ(sent.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(sent.retry);
}

TEST(OtlpSender, CancelEndsWhatIsUnderWayAndAllThatFollows) {
  SpanReceiver receiver;
  receiver.hang = true;
  const auto sender = SenderTo(receiver.endpoint());
  std::thread canceller([&] {
    receiver.arrived.WaitForNotification();
    sender->Cancel();
  });
  EXPECT_EQ(sender->Send(OneSpan(), kLong).status.code(),
            absl::StatusCode::kCancelled);
  canceller.join();
  EXPECT_EQ(sender->Send(OneSpan(), kLong).status.code(),
            absl::StatusCode::kCancelled);
}

TEST(OtlpSender, WithTlsItChecksTheReceiversCertificate) {
  const TestIdentity authority = MakeAuthority("collectors");
  const TestIdentity identity = MakeIdentity("collector", authority);
  grpc::SslServerCredentialsOptions tls;
  tls.pem_key_cert_pairs.push_back({identity.key, identity.certificate});
  SpanReceiver receiver(grpc::SslServerCredentials(tls));
  const std::string ca = absl::StrCat(testing::TempDir(), "ca_", getpid());
  std::ofstream(ca) << authority.certificate;
  const auto sender = MakeOtlpSender(receiver.endpoint(/*tls=*/true), ca);
  ASSERT_TRUE(sender.ok()) << sender.status();
  const Sent sent = (*sender)->Send(OneSpan(), kLong);
  EXPECT_TRUE(sent.status.ok()) << sent.status;
  std::ofstream(ca) << MakeAuthority("others").certificate;
  const auto stranger = MakeOtlpSender(receiver.endpoint(/*tls=*/true), ca);
  ASSERT_TRUE(stranger.ok()) << stranger.status();
  EXPECT_EQ((*stranger)->Send(OneSpan(), kLong).status.code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(receiver.batches().size(), 1u);
  unlink(ca.c_str());
}

TEST(MakeOtlpSender, WantsTheCertificatesThatItIsToldOf) {
  const auto sender = MakeOtlpSender({"a:1", true}, "/nowhere/ca.pem");
  ASSERT_FALSE(sender.ok());
  EXPECT_THAT(sender.status().message(), HasSubstr("/nowhere/ca.pem"));
}

}  // namespace
}  // namespace fff::rpc

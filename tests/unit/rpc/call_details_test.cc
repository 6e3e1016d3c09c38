#include "server/rpc/observe/call_details.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/grpc_fixture.h"

// Metadata of inference calls, the log of requests, and the memory they take,
// through a server.
namespace fff::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class CallDetailsTest : public GrpcServerTest {
 protected:
  void SetUp() override {
    options_ = LocalOptions();
    options_.access_log = absl::StrCat(repository_.path(), ".", getpid());
  }
  void TearDown() override { unlink(options_.access_log.c_str()); }

  grpc::Status Predict(grpc::ClientContext& context, int64_t rows,
                       const std::string& model = "leaf") {
    v1::PredictRequest request =
        PredictRequest(model, Rows(rows, kLeafIn), kLeafIn);
    request.set_request_id("id");
    v1::PredictResponse response;
    return stub_->Predict(&context, request, &response);
  }

  static std::string Trailing(const grpc::ClientContext& context,
                              const std::string& key) {
    const auto& metadata = context.GetServerTrailingMetadata();
    const auto found = metadata.find(key);
    if (found == metadata.end()) return "";
    return std::string(found->second.data(), found->second.size());
  }

  // The lines that were written, after the server's end.
  std::vector<std::string> LoggedLines() {
    server_.reset();
    std::ifstream file(options_.access_log);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  GrpcServerOptions options_;
};

TEST_F(CallDetailsTest, TellsWhereTheTimeWentWhenAsked) {
  StartServer(options_);
  grpc::ClientContext asking;
  asking.AddMetadata(kTimingKey, "1");
  ASSERT_TRUE(Predict(asking, 3).ok());
  EXPECT_THAT(Trailing(asking, kTimingKey),
              MatchesRegex("decode_us=[0-9.]+;queue_us=[0-9.]+;compute_us=[0-9."
                           "]+;encode_us=[0-9.]+;batch_rows=3"));
  grpc::ClientContext silent;
  ASSERT_TRUE(Predict(silent, 3).ok());
  EXPECT_EQ(Trailing(silent, kTimingKey), "");
}

TEST_F(CallDetailsTest, ARefusedCallIsToldWhenToTryAgain) {
  StartServer(options_);
  BusyWorker busy(&scheduler_);
  std::thread waiting([this] {
    grpc::ClientContext context;
    EXPECT_TRUE(Predict(context, 99).ok());
  });
  AwaitQueuedRows("leaf", 99);
  grpc::ClientContext context;
  const grpc::Status status = Predict(context, 2);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const int pushback_ms =
      std::stoi("0" + Trailing(context, "grpc-retry-pushback-ms"));
  EXPECT_GE(pushback_ms, 1);
  EXPECT_LE(pushback_ms, 20'000);
  EXPECT_THAT(status.error_details(),
              HasSubstr("type.googleapis.com/google.rpc.RetryInfo"));
  busy.Open();
  waiting.join();
}

TEST_F(CallDetailsTest, ARefusedRequestOfAStreamIsToldToo) {
  StartServer(options_);
  BusyWorker busy(&scheduler_);
  grpc::ClientContext context;
  const auto stream = stub_->PredictStream(&context);
  stream->Write(PredictRequest("leaf", Rows(99, kLeafIn), kLeafIn));
  AwaitQueuedRows("leaf", 99);
  stream->Write(PredictRequest("leaf", Rows(2, kLeafIn), kLeafIn));
  v1::PredictStreamResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.error().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_GE(answer.error().retry_after_ms(), 1);
  busy.Open();
  stream->WritesDone();
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_TRUE(answer.has_response());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(CallDetailsTest, LogsRequestsWithTheirTrace) {
  StartServer(options_);
  grpc::ClientContext traced;
  traced.AddMetadata("traceparent",
                     "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  ASSERT_TRUE(Predict(traced, 3).ok());
  grpc::ClientContext failing;
  ASSERT_FALSE(Predict(failing, 1, "no \"such\" model").ok());
  const std::vector<std::string> lines = LoggedLines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("\"method\":\"Predict\",\"model\":\"leaf\","
                                  "\"version\":1,\"request_id\":\"id\","
                                  "\"status\":\"OK\",\"rows\":3,"));
  EXPECT_THAT(lines[0],
              HasSubstr("\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
                        "\"parent_span_id\":\"00f067aa0ba902b7\"}"));
  EXPECT_THAT(lines[1], HasSubstr("\"model\":\"no \\\"such\\\" model\","
                                  "\"version\":0,\"request_id\":\"id\","
                                  "\"status\":\"NOT_FOUND\""));
}

TEST_F(CallDetailsTest, LogsEachRequestOfAStream) {
  options_.access_log_share = 0.5;
  StartServer(options_);
  grpc::ClientContext context;
  const auto stream = stub_->PredictStream(&context);
  v1::PredictStreamResponse answer;
  for (int i = 0; i < 10; ++i) {
    stream->Write(PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn));
    ASSERT_TRUE(stream->Read(&answer));
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  const std::vector<std::string> lines = LoggedLines();
  EXPECT_EQ(lines.size(), 5u);
  for (const std::string& line : lines) {
    EXPECT_THAT(line, HasSubstr("\"method\":\"PredictStream\""));
  }
}

TEST_F(CallDetailsTest, ALogThatCannotBeOpenedStopsTheStart) {
  options_.access_log = "/no/such/directory/log";
  GrpcServer server(options_, &models_, &scheduler_, &metrics_);
  const absl::Status status = server.Start();
  EXPECT_THAT(std::string(status.message()),
              StartsWith("cannot write access log /no/such/directory/log: "));
}

// As HTTP/2 counts: with its name and 32 bytes.
std::string Value(const std::string& name, size_t bytes) {
  return std::string(bytes - name.size() - 32, 'x');
}

TEST_F(CallDetailsTest, ACallWithLargeMetadataIsRefusedAlone) {
  options_.max_metadata_bytes = 20000;
  options_.overload_is_unavailable = true;  // no matter of load
  StartServer(options_);
  grpc::ClientContext large;
  large.AddMetadata("token", Value("token", 20001));
  const grpc::Status status = Predict(large, 3);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(),
              MatchesRegex("got 20[0-9]+ bytes of metadata .*, wanted at most "
                           "20000 .--max-metadata-bytes."));
  EXPECT_EQ(Trailing(large, "grpc-retry-pushback-ms"), "-1");
  EXPECT_THAT(status.error_details(), Not(HasSubstr("RetryInfo")));
  grpc::ClientContext small;
  small.AddMetadata("token", Value("token", 19000));
  EXPECT_TRUE(Predict(small, 3).ok());
  EXPECT_EQ(metrics_.TakeSnapshot().metadata_refused, 1u);
}

TEST_F(CallDetailsTest, AStreamWithLargeMetadataEndsUnread) {
  options_.max_metadata_bytes = 20000;
  StartServer(options_);
  grpc::ClientContext context;
  context.AddMetadata("token", Value("token", 30000));
  const auto stream = stub_->PredictStream(&context);
  stream->Write(PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn));
  v1::PredictStreamResponse answer;
  EXPECT_FALSE(stream->Read(&answer));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("--max-metadata-bytes"));
  EXPECT_EQ(Trailing(context, "grpc-retry-pushback-ms"), "-1");
  EXPECT_EQ(metrics_.TakeSnapshot().metadata_refused, 1u);
}

TEST_F(CallDetailsTest, RequestsBeyondTheMemoryAreRefused) {
  options_.answer_memory_bytes = 400'000;
  StartServer(options_);
  BusyWorker busy(&scheduler_);
  std::thread waiting([this] {
    grpc::ClientContext context;
    EXPECT_TRUE(Predict(context, 99).ok());  // 310,464 bytes
  });
  AwaitQueuedRows("leaf", 99);
  grpc::ClientContext context;
  const grpc::Status status = Predict(context, 50, "nope");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(),
              StartsWith("the memory for requests is full: "));
  EXPECT_EQ(Trailing(context, "grpc-retry-pushback-ms"), "100");
  busy.Open();
  waiting.join();
  // What was charged is given back, so that one that is larger than the bound
  // gets in when it is alone.
  grpc::Status large;
  for (int i = 0; i < 1000; ++i) {  // the waiting call is recycled meanwhile
    grpc::ClientContext again;
    large = Predict(again, 200);
    if (large.ok()) break;
  }
  EXPECT_TRUE(large.ok()) << large.error_message();
}

TEST_F(CallDetailsTest, ARefusalForWantOfRoomCanBeUnavailable) {
  options_.overload_is_unavailable = true;
  StartServer(options_);
  BusyWorker busy(&scheduler_);
  std::thread waiting([this] {
    grpc::ClientContext context;
    EXPECT_TRUE(Predict(context, 99).ok());
  });
  AwaitQueuedRows("leaf", 99);
  grpc::ClientContext context;
  const grpc::Status status = Predict(context, 2);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("the queue is full: 99 rows"));
  EXPECT_THAT(status.error_details(), HasSubstr("google.rpc.RetryInfo"));
  EXPECT_NE(Trailing(context, "grpc-retry-pushback-ms"), "");
  // Other refusals are what they are.
  grpc::ClientContext other;
  EXPECT_EQ(Predict(other, 1, "nope").error_code(),
            grpc::StatusCode::NOT_FOUND);
  busy.Open();
  waiting.join();
}

}  // namespace
}  // namespace fff::rpc

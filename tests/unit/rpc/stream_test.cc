#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/transport/stream_flow.h"
#include "tests/unit/rpc/grpc_fixture.h"

// PredictStream and ModelStreamInfer through a server.
namespace fff::rpc {
namespace {

using ::testing::HasSubstr;

class StreamTest : public GrpcServerTest {
 protected:
  using Stream =
      grpc::ClientReaderWriter<v1::PredictRequest, v1::PredictStreamResponse>;

  void SetUp() override { StartServer(); }

  std::unique_ptr<Stream> Open(grpc::ClientContext& context) {
    return stub_->PredictStream(&context);
  }

  // One row for "path" that depends on `seed`, under that id.
  static v1::PredictRequest Numbered(int seed) {
    v1::PredictRequest request =
        PredictRequest("path", Rows(1, kPathIn, seed), kPathIn);
    request.set_request_id(absl::StrCat(seed));
    return request;
  }

  // Rows of other requests may share the batch, so a kernel for another batch
  // size may have run: equal up to rounding.
  void ExpectAnswerOf(int seed, const v1::PredictStreamResponse& answer) {
    ASSERT_TRUE(answer.has_response()) << answer.error().message();
    EXPECT_EQ(answer.response().request_id(), answer.request_id());
    const std::vector<float> got = Floats(answer.response().output().data());
    const std::vector<float> wanted = Direct("path", Rows(1, kPathIn, seed));
    ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], wanted[i], 1e-4);
  }

  void AwaitInflight(const std::string& model, int64_t requests) {
    const auto servable = Servable(model);
    while (servable->metrics().inflight.Value() != requests) {
      std::this_thread::yield();
    }
  }

  // Until every call's objects are gone from the server's view.
  uint64_t Count(metrics::Method method, grpc::StatusCode code) {
    return Servable("path")
        ->metrics()
        .requests[static_cast<size_t>(method)][static_cast<size_t>(code)]
        .Value();
  }
};

TEST_F(StreamTest, EveryRequestGetsItsAnswerById) {
  constexpr int kRequests = 500;
  grpc::ClientContext context;
  const auto stream = Open(context);
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) ASSERT_TRUE(stream->Write(Numbered(i)));
    stream->WritesDone();
  });
  std::set<std::string> ids;
  v1::PredictStreamResponse answer;
  while (stream->Read(&answer)) {
    EXPECT_TRUE(ids.insert(answer.request_id()).second) << answer.request_id();
    ExpectAnswerOf(std::stoi(answer.request_id()), answer);
  }
  writer.join();
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(ids.size(), kRequests);
  EXPECT_EQ(Count(metrics::Method::kPredictStream, grpc::StatusCode::OK),
            kRequests);
  EXPECT_EQ(Servable("path")->metrics().inflight.Value(), 0);
}

TEST_F(StreamTest, AnswersOvertakeOneThatWaits) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  BusyWorker busy(&scheduler_);
  ASSERT_TRUE(stream->Write(Numbered(1)));
  v1::PredictRequest bad = Numbered(2);
  bad.set_model("nope");
  ASSERT_TRUE(stream->Write(bad));
  v1::PredictStreamResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.request_id(), "2");
  busy.Open();
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.request_id(), "1");
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, AnErrorAnswersItsRequestAndTheStreamGoesOn) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  v1::PredictRequest narrow = PredictRequest("path", Rows(1, 3), 3);
  narrow.set_request_id("narrow");
  v1::PredictRequest unknown = Numbered(1);
  unknown.set_model("nope");
  unknown.set_request_id("unknown");
  v1::PredictRequest late = Numbered(1);
  late.set_timeout_us(-1);
  late.set_request_id("late");
  const std::map<std::string, std::pair<int, std::string>> wanted = {
      {"narrow",
       {3,
        "model 'path' version 1: input 'input': got shape [1, 3], wanted "
        "[rows, 96]"}},
      {"unknown",
       {5, "model 'nope' is not in the repository; it has: 'leaf', 'path'"}},
      {"late",
       {3,
        "model 'path' version 1: got timeout_us -1, wanted 0 (none) or "
        "above"}}};
  for (const v1::PredictRequest& request : {narrow, unknown, late}) {
    ASSERT_TRUE(stream->Write(request));
    v1::PredictStreamResponse answer;
    ASSERT_TRUE(stream->Read(&answer));
    ASSERT_EQ(answer.request_id(), request.request_id());
    ASSERT_TRUE(answer.has_error());
    EXPECT_EQ(answer.error().code(), wanted.at(answer.request_id()).first);
    EXPECT_EQ(answer.error().message(), wanted.at(answer.request_id()).second);
    ASSERT_TRUE(stream->Write(Numbered(7)));
    ASSERT_TRUE(stream->Read(&answer));
    ExpectAnswerOf(7, answer);
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, ModelStreamInferNamesTheRequestThatFailed) {
  grpc::ClientContext context;
  const auto stream = open_stub_->ModelStreamInfer(&context);
  inference::ModelInferRequest good =
      InferRequest("path", Rows(2, kPathIn), kPathIn);
  good.set_id("good");
  inference::ModelInferRequest bad = good;
  bad.set_id("bad");
  bad.set_model_version("x");
  for (int round = 0; round < 3; ++round) {
    inference::ModelStreamInferResponse answer;
    ASSERT_TRUE(stream->Write(bad));
    ASSERT_TRUE(stream->Read(&answer));
    EXPECT_EQ(answer.error_message(),
              "got model version 'x', wanted a positive decimal number or "
              "nothing");
    EXPECT_EQ(answer.infer_response().id(), "bad");
    EXPECT_EQ(answer.infer_response().outputs_size(), 0);
    ASSERT_TRUE(stream->Write(good));
    ASSERT_TRUE(stream->Read(&answer));
    EXPECT_EQ(answer.error_message(), "");
    EXPECT_EQ(answer.infer_response().id(), "good");
    ASSERT_EQ(answer.infer_response().raw_output_contents_size(), 1);
    EXPECT_EQ(answer.infer_response().raw_output_contents(0),
              Bytes(Direct("path", Rows(2, kPathIn))));
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, AStreamWithoutRequestsEndsWell) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  stream->WritesDone();
  v1::PredictStreamResponse answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, HalfCloseAnswersWhatWaits) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  BusyWorker busy(&scheduler_);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(stream->Write(Numbered(i)));
  stream->WritesDone();
  AwaitQueuedRows("path", 10);
  busy.Open();
  v1::PredictStreamResponse answer;
  int answers = 0;
  while (stream->Read(&answer)) {
    ++answers;
    EXPECT_TRUE(answer.has_response());
  }
  EXPECT_EQ(answers, 10);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, AClientThatDoesNotReadIsReadNoFurther) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  BusyWorker busy(&scheduler_);
  std::thread writer([&] {
    for (int i = 0; i < 4 * StreamFlow::kRequestsMax; ++i) {
      ASSERT_TRUE(stream->Write(Numbered(i)));
    }
    stream->WritesDone();
  });
  AwaitQueuedRows("path", StreamFlow::kRequestsMax);
  // Calls of the same connection that come after what the stream has sent.
  for (int i = 0; i < 50; ++i) {
    grpc::ClientContext other;
    v1::PredictResponse response;
    EXPECT_EQ(stub_->Predict(&other, PredictRequest("nope", {1}, 1), &response)
                  .error_code(),
              grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(Servable("path")->metrics().queue_rows.Value(),
              StreamFlow::kRequestsMax);
  }
  busy.Open();
  v1::PredictStreamResponse answer;
  std::set<std::string> ids;
  while (stream->Read(&answer)) ids.insert(answer.request_id());
  writer.join();
  EXPECT_EQ(ids.size(), 4 * StreamFlow::kRequestsMax);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, CancellingDropsWhatWaits) {
  BusyWorker busy(&scheduler_);
  {
    grpc::ClientContext context;
    const auto stream = Open(context);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(stream->Write(Numbered(i)));
    AwaitQueuedRows("path", 20);
    context.TryCancel();
    v1::PredictStreamResponse answer;
    EXPECT_FALSE(stream->Read(&answer));
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  // Later calls of the same connection and queue come after the cancellation.
  for (int i = 0; i < 50; ++i) {
    grpc::ClientContext context;
    v1::PredictResponse response;
    EXPECT_FALSE(
        stub_->Predict(&context, PredictRequest("nope", {1}, 1), &response)
            .ok());
  }
  busy.Open();
  AwaitInflight("path", 0);
  EXPECT_EQ(Servable("path")->metrics().rows.Value(), 0u);
  EXPECT_EQ(Count(metrics::Method::kPredictStream, grpc::StatusCode::CANCELLED),
            20u);
}

TEST_F(StreamTest, ARequestMayHaveADeadlineOfItsOwn) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  v1::PredictStreamResponse answer;
  {
    BusyWorker busy(&scheduler_);
    v1::PredictRequest late = Numbered(1);
    late.set_timeout_us(1);
    ASSERT_TRUE(stream->Write(late));
    ASSERT_TRUE(stream->Write(Numbered(2)));
    AwaitQueuedRows("path", 1);
  }
  std::map<std::string, int> codes;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stream->Read(&answer));
    codes[answer.request_id()] = answer.error().code();
  }
  EXPECT_EQ(codes["1"], grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(codes["2"], 0);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, StopAnswersWhatWasReadAndEndsTheStreamAsUnavailable) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  BusyWorker busy(&scheduler_);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(stream->Write(Numbered(i)));
  AwaitQueuedRows("path", 5);
  grpc::ClientContext idle_context;
  const auto idle = Open(idle_context);
  ASSERT_TRUE(idle->Write(PredictRequest("nope", {1}, 1)));
  v1::PredictStreamResponse answer;
  ASSERT_TRUE(idle->Read(&answer));  // it is open, and nothing is in flight
  std::thread stopper([&] {
    server_->Stop(std::chrono::system_clock::now() + std::chrono::seconds(60));
  });
  EXPECT_FALSE(idle->Read(&answer));
  EXPECT_EQ(idle->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  busy.Open();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(stream->Read(&answer));
    EXPECT_TRUE(answer.has_response());
  }
  EXPECT_FALSE(stream->Read(&answer));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("shutting down"));
  stopper.join();
}

TEST_F(StreamTest, StopCancelsStreamsThatOutlastItsDeadline) {
  grpc::ClientContext context;
  const auto stream = Open(context);
  BusyWorker busy(&scheduler_);
  ASSERT_TRUE(stream->Write(Numbered(1)));
  AwaitQueuedRows("path", 1);
  std::thread stopper([&] { server_->Stop(std::chrono::system_clock::now()); });
  v1::PredictStreamResponse answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_FALSE(stream->Finish().ok());
  busy.Open();
  stopper.join();
}

TEST_F(StreamTest, BytesThatAreNoRequestAreAnsweredAndTheStreamGoesOn) {
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto await = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  const auto call = stub.PrepareCall(
      &context, "/fff.v1.InferenceService/PredictStream", &queue);
  call->StartCall(nullptr);
  ASSERT_TRUE(await());
  for (const std::string& sent :
       {std::string("\xff\xff\xff"), Numbered(4).SerializeAsString()}) {
    const grpc::Slice slice(sent);
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    ASSERT_TRUE(await());
    grpc::ByteBuffer received;
    call->Read(&received, nullptr);
    ASSERT_TRUE(await());
    v1::PredictStreamResponse answer;
    grpc::Slice bytes;
    ASSERT_TRUE(received.DumpToSingleSlice(&bytes).ok());
    ASSERT_TRUE(
        answer.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size())));
    if (answer.request_id() == "4") continue;
    EXPECT_EQ(answer.error().code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(answer.error().message(),
              "got 3 bytes that are no fff.v1.PredictRequest");
  }
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  await();
}

}  // namespace
}  // namespace fff::rpc

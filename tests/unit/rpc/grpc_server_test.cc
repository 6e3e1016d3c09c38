#include "server/rpc/service/grpc_server.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/grpc_fixture.h"

// The server as a whole: ports, health, limits, reflection and how it stops.
namespace fff::rpc {
namespace {

using ::testing::HasSubstr;

class GrpcServerLifeTest : public GrpcServerTest {
 protected:
  grpc::Status Predict(const std::string& model, int64_t rows) {
    grpc::ClientContext context;
    v1::PredictResponse response;
    const int64_t width = model == "leaf" ? kLeafIn : kPathIn;
    return stub_->Predict(
        &context, PredictRequest(model, Rows(rows, width), width), &response);
  }

  // Calls a model that is not there until the server says that it stops: such a
  // call never waits in a queue.
  void AwaitRefusal() {
    grpc::Status status;
    do {
      status = Predict("nope", 1);
    } while (status.error_code() == grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }

  static std::chrono::system_clock::time_point In(std::chrono::seconds time) {
    return std::chrono::system_clock::now() + time;
  }
};

TEST_F(GrpcServerLifeTest, PicksAFreePort) {
  StartServer();
  EXPECT_GT(server_->port(), 0);
  EXPECT_TRUE(Predict("path", 1).ok());
}

TEST_F(GrpcServerLifeTest, ASecondServerOnItsPortDoesNotStart) {
  StartServer();
  GrpcServerOptions options = LocalOptions();
  options.port = server_->port();
  GrpcServer second(options, &models_, &scheduler_, &metrics_);
  EXPECT_EQ(second.Start(), absl::UnavailableError(absl::StrCat(
                                "cannot listen on 127.0.0.1:", server_->port(),
                                " for gRPC: Address already in use")));
  second.Stop(In(std::chrono::seconds(0)));
  EXPECT_TRUE(Predict("path", 1).ok()) << "the first one goes on";
}

TEST_F(GrpcServerLifeTest, AnOldConnectionIsReplacedAndNoCallFails) {
  GrpcServerOptions options = LocalOptions();
  options.connections.age_seconds_max = 0.05;
  StartServer(options);
  ASSERT_TRUE(Predict("path", 1).ok());
  for (int connections = 0; connections < 3; ++connections) {
    // The server says go away: the channel is idle until the next call.
    while (channel_->GetState(false) == GRPC_CHANNEL_READY) {
      ASSERT_TRUE(channel_->WaitForStateChange(GRPC_CHANNEL_READY,
                                               In(std::chrono::seconds(60))));
    }
    EXPECT_TRUE(Predict("path", 1).ok());
  }
}

TEST_F(GrpcServerLifeTest, AStreamOutlivesTheAgeOfItsConnection) {
  GrpcServerOptions options = LocalOptions();
  options.connections.age_seconds_max = 1;
  StartServer(options);
  const auto stub = v1::InferenceService::NewStub(channel_);
  const v1::PredictRequest request =
      PredictRequest("path", Rows(1, kPathIn), kPathIn);
  v1::PredictStreamResponse response;
  // gRPC's client fails a call that starts while the server says go away: then
  // another stream is to be under way by the time it does.
  std::optional<grpc::ClientContext> context;
  std::unique_ptr<
      grpc::ClientReaderWriter<v1::PredictRequest, v1::PredictStreamResponse>>
      stream;
  while (true) {
    stream.reset();
    stream = stub->PredictStream(&context.emplace());
    if (stream->Write(request) && stream->Read(&response)) break;
    ASSERT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  while (channel_->GetState(false) == GRPC_CHANNEL_READY) {
    ASSERT_TRUE(channel_->WaitForStateChange(GRPC_CHANNEL_READY,
                                             In(std::chrono::seconds(60))));
  }
  ASSERT_TRUE(stream->Write(request)) << "on the connection that is leaving";
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.has_response());
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GrpcServerLifeTest, AnAddressOfAnotherMachineIsRefused) {
  GrpcServerOptions options = LocalOptions();
  options.host = "192.0.2.1";  // reserved for documentation
  GrpcServer server(options, &models_, &scheduler_, &metrics_);
  EXPECT_EQ(server.Start().code(), absl::StatusCode::kUnavailable);
}

TEST_F(GrpcServerLifeTest, UnusableTlsFilesAreRefused) {
  repository_.AddFile("cert.pem", "no certificate");
  GrpcServerOptions options = LocalOptions();
  options.tls.certificate = (repository_ / "cert.pem").string();
  options.tls.key = options.tls.certificate;
  GrpcServer server(options, &models_, &scheduler_, &metrics_);
  const absl::Status status = server.Start();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cert.pem: is not a text of PEM certificates"));
}

TEST_F(GrpcServerLifeTest, AnUnusableAdminTokenIsRefused) {
  repository_.AddFile("token", " \n");
  GrpcServerOptions options = LocalOptions();
  options.admin.token_file = (repository_ / "token").string();
  GrpcServer server(options, &models_, &scheduler_, &metrics_);
  EXPECT_EQ(server.Start().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(GrpcServerLifeTest, HealthFollowsWhatTheServerIsTold) {
  StartServer();
  for (const char* service :
       {"", "fff.v1.InferenceService", "inference.GRPCInferenceService"}) {
    EXPECT_EQ(Health(service), "SERVING") << service;
    server_->SetServing(false);
    EXPECT_EQ(Health(service), "NOT_SERVING") << service;
    server_->SetServing(true);
    EXPECT_EQ(Health(service), "SERVING") << service;
  }
  EXPECT_EQ(Health("no.such.Service"),
            absl::StrCat("code ", grpc::StatusCode::NOT_FOUND));
}

TEST_F(GrpcServerLifeTest, StartsNotServing) {
  server_ = std::make_unique<GrpcServer>(LocalOptions(), &models_, &scheduler_,
                                         &metrics_);
  ASSERT_TRUE(server_->Start().ok());
  channel_ = Connect();
  EXPECT_EQ(Health(""), "NOT_SERVING");
}

// Draining: health says no, calls are still answered.
TEST_F(GrpcServerLifeTest, AnswersCallsWhileHealthSaysNo) {
  StartServer();
  server_->SetServing(false);
  EXPECT_TRUE(Predict("path", 1).ok());
}

// What a stream of `method` answers to its one request "list_services".
std::string ListedServices(const std::shared_ptr<grpc::Channel>& channel,
                           const std::string& method) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto await = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  EXPECT_TRUE(await());
  const grpc::Slice list_services("\x3a\x01*");  // field 7 of the request
  call->WriteLast(grpc::ByteBuffer(&list_services, 1), grpc::WriteOptions(),
                  nullptr);
  EXPECT_TRUE(await());
  grpc::ByteBuffer received;
  call->Read(&received, nullptr);
  EXPECT_TRUE(await());
  grpc::Slice slice;
  EXPECT_TRUE(received.DumpToSingleSlice(&slice).ok());
  grpc::Status status;
  call->Finish(&status, nullptr);
  await();
  return {slice.begin(), slice.end()};
}

TEST_F(GrpcServerLifeTest, TellsItsServicesToReflectionOfEitherVersion) {
  StartServer();
  for (const std::string version : {"v1", "v1alpha"}) {
    const std::string answer = ListedServices(
        channel_, absl::StrCat("/grpc.reflection.", version,
                               ".ServerReflection/ServerReflectionInfo"));
    for (const char* service :
         {"fff.v1.InferenceService", "inference.GRPCInferenceService",
          "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection"}) {
      EXPECT_THAT(answer, HasSubstr(service)) << version;
    }
  }
}

TEST_F(GrpcServerLifeTest, RefusesMessagesAboveItsLimitAndGoesOn) {
  GrpcServerOptions options = LocalOptions();
  options.max_message_bytes = 8192;
  StartServer(options);
  const grpc::Status status = Predict("leaf", 3);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("8192"));
  EXPECT_TRUE(Predict("leaf", 2).ok());
}

TEST_F(GrpcServerLifeTest, SendsAnswersAboveItsLimitForRequests) {
  GrpcServerOptions options = LocalOptions();
  options.max_message_bytes = 1 << 20;
  StartServer(options);
  EXPECT_TRUE(Predict("path", 2000).ok());
}

TEST_F(GrpcServerLifeTest, ServesOverSeveralQueues) {
  GrpcServerOptions options = LocalOptions();
  options.queues = 3;
  StartServer(options);
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([this] {
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(Predict("path", 1).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(GrpcServerLifeTest, MoreCallsWaitThanSlotsWereArmed) {
  StartServer();
  BusyWorker busy(&scheduler_);
  constexpr int kCalls = 2 * InferQueue::kArmedCalls;
  std::vector<std::thread> threads;
  std::atomic<int> answered{0};
  for (int t = 0; t < kCalls; ++t) {
    threads.emplace_back([&] {
      if (Predict("path", 1).ok()) ++answered;
    });
  }
  AwaitQueuedRows("path", kCalls);
  busy.Open();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, kCalls);
}

TEST_F(GrpcServerLifeTest, StopAnswersCallsInFlightAndRefusesNewOnes) {
  StartServer();
  BusyWorker busy(&scheduler_);
  std::vector<std::thread> callers;
  std::atomic<int> answered{0};
  for (int i = 0; i < 5; ++i) {
    callers.emplace_back([&] {
      const grpc::Status status = Predict("path", 1);
      EXPECT_TRUE(status.ok()) << status.error_message();
      if (status.ok()) ++answered;
    });
  }
  AwaitQueuedRows("path", 5);
  std::thread stopper([&] { server_->Stop(In(std::chrono::seconds(60))); });
  AwaitRefusal();
  EXPECT_EQ(answered, 0);
  busy.Open();
  stopper.join();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, 5);
  EXPECT_FALSE(Predict("path", 1).ok());
}

TEST_F(GrpcServerLifeTest, StopCancelsCallsThatOutlastItsDeadline) {
  StartServer();
  BusyWorker busy(&scheduler_);
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] { EXPECT_FALSE(Predict("path", 1).ok()); });
  }
  AwaitQueuedRows("path", 3);
  std::thread stopper([&] { server_->Stop(In(std::chrono::seconds(0))); });
  for (std::thread& caller : callers) caller.join();
  busy.Open();
  stopper.join();
}

TEST_F(GrpcServerLifeTest, MayBeStoppedTwice) {
  StartServer();
  server_->Stop(In(std::chrono::seconds(5)));
  server_->Stop(In(std::chrono::seconds(5)));
}

TEST_F(GrpcServerLifeTest, FreesItsPortWhenItStops) {
  StartServer();
  GrpcServerOptions options = LocalOptions();
  options.port = server_->port();
  channel_.reset();
  server_->Stop(In(std::chrono::seconds(5)));
  serving::Scheduler scheduler(1);
  GrpcServer next(options, &models_, &scheduler, &metrics_);
  EXPECT_TRUE(next.Start().ok());
}

// Whenever Stop comes, a call is answered with OK or refused, never lost, and
// no answer is handed to a queue that has ended.
TEST(GrpcServerStopTest, IsSafeAtAnyMomentUnderLoad) {
  serving::TempRepository repository;
  repository.AddModel("m", 1);
  metrics::ServerMetrics metrics("test");
  serving::ModelRegistry registry(&metrics);
  serving::RepositoryOptions repository_options;
  repository_options.path = repository.path();
  serving::ModelRepository models(repository_options, &registry, &metrics);
  ASSERT_TRUE(models.LoadAll().ok());
  for (int round = 0; round < 12; ++round) {
    serving::Scheduler scheduler(2);
    GrpcServerOptions options;
    options.port = 0;
    GrpcServer server(options, &models, &scheduler, &metrics);
    ASSERT_TRUE(server.Start().ok());
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const auto stub = v1::InferenceService::NewStub(
            grpc::CreateChannel(absl::StrCat("127.0.0.1:", server.port()),
                                grpc::InsecureChannelCredentials()));
        v1::PredictRequest request;
        request.set_model("m");
        request.mutable_input()->set_datatype(v1::DATA_TYPE_FP32);
        request.mutable_input()->add_shape(128);
        request.mutable_input()->set_data(std::string(512, '\0'));
        grpc::Status status;
        while (status.ok()) {
          grpc::ClientContext context;
          v1::PredictResponse response;
          status = stub->Predict(&context, request, &response);
          if (status.ok()) ++answered;
        }
        EXPECT_TRUE(status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                    status.error_code() == grpc::StatusCode::CANCELLED)
            << status.error_code() << " " << status.error_message();
      });
    }
    while (answered < 20 * (round + 1)) std::this_thread::yield();
    // With time to finish, and with none.
    server.Stop(std::chrono::system_clock::now() +
                std::chrono::seconds(round % 2 == 0 ? 10 : 0));
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace fff::rpc

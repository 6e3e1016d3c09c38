#include "server/rpc/transport/farewell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/grpc_fixture.h"

namespace fff::rpc {
namespace {

using FarewellTest = GrpcServerTest;

std::chrono::system_clock::time_point In(std::chrono::seconds time) {
  return std::chrono::system_clock::now() + time;
}

TEST_F(FarewellTest, IsSupportedByTheGrpcThisIsBuiltWith) {
  grpc::ServerBuilder builder;
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  EXPECT_TRUE(Farewell(server.get()).supported());
}

// Clients that have no retry policy nor watch health, and know another server:
// when theirs stops, every call of theirs is answered, here or there. What gRPC
// sends again by itself stays on: a call whose connection got GOAWAY before the
// call left the client. No server could answer that one.
TEST_F(FarewellTest, LosesNoCallOfClientsWithoutARetryPolicy) {
  constexpr int kClients = 6;
  constexpr int kRounds = 5;
  StartServer();
  for (int round = 0; round < kRounds; ++round) {
    serving::Scheduler scheduler(1);  // ends with its server
    GrpcServer leaving(LocalOptions(), &models_, &scheduler, &metrics_);
    ASSERT_TRUE(leaving.Start().ok());
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const std::string target = absl::StrCat("ipv4:127.0.0.1:", leaving.port(),
                                            ",127.0.0.1:", server_->port());
    std::atomic<bool> ended{false};
    std::atomic<int> answered{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.emplace_back([&] {
        const auto stub =
            v1::InferenceService::NewStub(grpc::CreateCustomChannel(
                target, grpc::InsecureChannelCredentials(), arguments));
        const v1::PredictRequest request =
            PredictRequest("path", Rows(1, kPathIn), kPathIn);
        while (!ended) {
          grpc::ClientContext context;
          v1::PredictResponse response;
          const grpc::Status status =
              stub->Predict(&context, request, &response);
          EXPECT_TRUE(status.ok()) << status.error_message();
          ++answered;
        }
      });
    }
    while (answered < 50 * kClients) std::this_thread::yield();
    leaving.Stop(In(std::chrono::seconds(10)));
    const int before = answered;
    while (answered < before + 10 * kClients) std::this_thread::yield();
    ended = true;
    for (std::thread& client : clients) client.join();
  }
}

}  // namespace
}  // namespace fff::rpc

#include "server/rpc/transport/active_queues.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/transport/call_queue.h"
#include "tests/unit/rpc/grpc_fixture.h"

// Queues that come and go while they are in use.
namespace fff::rpc {
namespace {

using ::testing::ElementsAre;

TEST(QueueOrderTest, DividesConnectionsEvenlyAtEachPowerOfTwo) {
  EXPECT_THAT(QueueOrder(1), ElementsAre(0));
  EXPECT_THAT(QueueOrder(2), ElementsAre(0, 1));
  EXPECT_THAT(QueueOrder(8), ElementsAre(0, 4, 2, 6, 1, 5, 3, 7));
  EXPECT_THAT(QueueOrder(6), ElementsAre(0, 4, 2, 1, 5, 3));
}

TEST(QueuesMayRestTest, WhereAllSocketsArePolledTogether) {
  unsetenv("GRPC_POLL_STRATEGY");
  EXPECT_TRUE(QueuesMayRest());
  setenv("GRPC_POLL_STRATEGY", "epoll1,poll", 1);
  EXPECT_TRUE(QueuesMayRest());
  setenv("GRPC_POLL_STRATEGY", "poll", 1);
  EXPECT_FALSE(QueuesMayRest());
  unsetenv("GRPC_POLL_STRATEGY");
}

class ActiveQueuesTest : public GrpcServerTest {
 protected:
  static constexpr int kQueues = 4;
  // Calls of each thread in a round. More than are armed of a method, so that a
  // queue that leaves is empty at the end.
  static constexpr int kCalls = 2 * CallQueue::kArmedCalls;

  void SetUp() override {
    GrpcServerOptions options = LocalOptions();
    options.queues = kQueues;
    StartServer(options);
  }

  // A stub with a connection of its own.
  std::unique_ptr<v1::InferenceService::Stub> Stub() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return v1::InferenceService::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", server_->port()),
        grpc::InsecureChannelCredentials(), arguments));
  }

  static v1::PredictRequest Request() {
    return PredictRequest("path", Rows(1, kPathIn), kPathIn);
  }

  // How many calls did not succeed, of kCalls each of Predict over a connection
  // of each queue, and of the other methods.
  int FailuresOfARound() {
    std::atomic<int> failures{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kQueues; ++i) {
      threads.emplace_back([&] {
        const auto stub = Stub();
        for (int call = 0; call < kCalls; ++call) {
          grpc::ClientContext context;
          v1::PredictResponse answer;
          if (!stub->Predict(&context, Request(), &answer).ok()) ++failures;
        }
      });
    }
    threads.emplace_back([&] {
      const auto stub = Stub();
      for (int call = 0; call < kCalls; ++call) {
        grpc::ClientContext context;
        v1::PredictResponse answer;
        if (!stub->PredictDense(&context, Request(), &answer).ok()) ++failures;
      }
    });
    threads.emplace_back([&] {
      for (int call = 0; call < kCalls; ++call) {
        grpc::ClientContext context;
        inference::ModelInferResponse answer;
        if (!open_stub_
                 ->ModelInfer(&context,
                              InferRequest("path", Rows(1, kPathIn), kPathIn),
                              &answer)
                 .ok()) {
          ++failures;
        }
      }
    });
    for (std::thread& thread : threads) thread.join();
    return failures;
  }

  // Calls of Predict that the queue has received.
  int64_t Received(int rank) const {
    return server_->active_queues().queue(rank).work().received[0];
  }
};

TEST_F(ActiveQueuesTest, OneQueueTakesTheCallsOfAllConnections) {
  server_->active_queues().Fix(1);
  EXPECT_EQ(FailuresOfARound(), 0);
  EXPECT_EQ(Received(0), kQueues * kCalls);
}

TEST_F(ActiveQueuesTest, AQueueThatComesTakesItsConnectionsCalls) {
  server_->active_queues().Fix(kQueues);
  // Its thread arms calls when it wakes up.
  while (Received(kQueues - 1) == 0) ASSERT_EQ(FailuresOfARound(), 0);
}

TEST_F(ActiveQueuesTest, AQueueThatLeavesUsesItsCallsUp) {
  server_->active_queues().Fix(kQueues);
  while (Received(1) == 0) ASSERT_EQ(FailuresOfARound(), 0);
  server_->active_queues().Fix(1);
  // Rounds until only the first queue receives any.
  for (int64_t before = 0, others = -1; before != others;) {
    before = others;
    ASSERT_EQ(FailuresOfARound(), 0);
    others = Received(1) + Received(2) + Received(3);
  }
}

TEST_F(ActiveQueuesTest, AQueueThatDozesTakesTheCallsThatItHasArmed) {
  server_->active_queues().Fix(kQueues);
  while (Received(kQueues - 1) == 0) ASSERT_EQ(FailuresOfARound(), 0);
  server_->active_queues().Fix(1);
  for (int round = 0; round < 3; ++round) {
    for (int rank = 1; rank < kQueues; ++rank) {
      server_->active_queues().queue(rank).MayDoze();
    }
    EXPECT_EQ(FailuresOfARound(), 0);
  }
}

TEST_F(ActiveQueuesTest, NoCallIsLostWhileQueuesComeAndGo) {
  std::atomic<bool> done{false};
  std::thread changes([&] {
    for (int i = 0; !done; ++i) {
      server_->active_queues().Fix(1 + i * 7 % kQueues);
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 5; ++round) EXPECT_EQ(FailuresOfARound(), 0);
  done = true;
  changes.join();
}

TEST_F(ActiveQueuesTest, StreamsLiveOnQueuesThatTakeNoCalls) {
  server_->active_queues().Fix(1);
  constexpr int kStreams = 3 * kQueues;
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<std::unique_ptr<grpc::ClientReaderWriter<
        v1::PredictRequest, v1::PredictStreamResponse>>>
        streams;
    for (int i = 0; i < kStreams; ++i) {
      contexts.push_back(std::make_unique<grpc::ClientContext>());
      streams.push_back(stub_->PredictStream(contexts.back().get()));
      ASSERT_TRUE(streams.back()->Write(Request()));
    }
    for (const auto& stream : streams) {
      v1::PredictStreamResponse answer;
      ASSERT_TRUE(stream->Read(&answer));
      EXPECT_TRUE(answer.has_response());
      stream->WritesDone();
      EXPECT_FALSE(stream->Read(&answer));
      EXPECT_TRUE(stream->Finish().ok());
    }
    // Each of them has had one.
    for (int rank = 0; rank < kQueues; ++rank) {
      const auto& queue =
          static_cast<const CallQueue&>(server_->active_queues().queue(rank));
      EXPECT_GT(queue.activity().received, 0);
    }
  }
  EXPECT_EQ(FailuresOfARound(), 0);
}

TEST_F(ActiveQueuesTest, StopEndsQueuesThatRestAndQueuesThatLeave) {
  server_->active_queues().Fix(kQueues);
  while (Received(kQueues - 1) == 0) ASSERT_EQ(FailuresOfARound(), 0);
  server_->active_queues().Fix(2);
  server_->active_queues().queue(2).MayDoze();
  server_->Stop(std::chrono::system_clock::now() + std::chrono::seconds(5));
}

}  // namespace
}  // namespace fff::rpc

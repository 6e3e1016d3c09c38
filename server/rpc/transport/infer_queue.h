#pragma once

#include <memory>

#include "server/rpc/transport/call_queue.h"

namespace fff::rpc {

// A completion queue with all calls that are made of it: the inference methods
// of both APIs, and health.
class InferQueue final : public CallQueue {
 public:
  // On the front queue: streams waiting to be opened, per streaming method, and
  // health calls, per method. One more stream is armed as one is opened; few,
  // because an armed one has its queue already.
  static constexpr int kArmedStreams = 1;
  static constexpr int kArmedHealthCalls = 8;

  InferQueue(const CallEnvironment* environment,
             std::unique_ptr<grpc::ServerCompletionQueue> queue,
             ActiveQueues* queues, int rank);
  ~InferQueue() override;

  // After BuildAndStart: on the front queue, arms the first streams and health
  // calls. Starts the thread, which arms unary calls.
  void Start(const std::string& thread_name);

  void ArmStream(int method) override;

 private:
  void ArmCall(int method) override;

  struct Pools;  // the calls, one pool per method
  std::unique_ptr<Pools> pools_;
};

}  // namespace fff::rpc

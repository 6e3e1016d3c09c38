#pragma once

#include <memory>

#include "server/rpc/transport/call_queue.h"

namespace fff::rpc {

// A completion queue with all calls that are made of it: the inference methods
// of both APIs, and health.
class InferQueue final : public CallQueue {
 public:
  // Calls waiting for a request, per unary method. Each that receives one arms
  // another, so an overload is answered at once and never waits inside gRPC.
  static constexpr int kArmedCalls = 64;
  // Streams waiting to be opened, per streaming method; health calls, per
  // method.
  static constexpr int kArmedStreams = 8;

  InferQueue(const CallEnvironment* environment,
             std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~InferQueue();

  // Arms the first calls and starts the thread; after BuildAndStart.
  void Start(const std::string& thread_name);

 private:
  struct Pools;  // the calls, one pool per method
  std::unique_ptr<Pools> pools_;
};

}  // namespace fff::rpc

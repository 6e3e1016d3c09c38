#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fff/v1/inference.grpc.pb.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/metrics/server_metrics.h"
#include "server/serving/model_registry.h"
#include "server/serving/scheduler.h"

// The inference methods on asynchronous completion queues: with gRPC 1.51 the
// callback API costs about a third more CPU a call and stalls for tens of
// milliseconds when calls are sparse.
namespace fff::rpc {

// Only the inference methods are asynchronous; the others stay synchronous.
using AsyncInferenceBase = v1::InferenceService::WithAsyncMethod_Predict<
    v1::InferenceService::WithAsyncMethod_PredictDense<
        v1::InferenceService::Service>>;
using AsyncOpenInferenceBase =
    inference::GRPCInferenceService::WithAsyncMethod_ModelInfer<
        inference::GRPCInferenceService::Service>;

// What every call needs; owned by the server, outlives all calls.
struct CallEnvironment {
  serving::ModelRegistry* registry = nullptr;
  serving::Scheduler* scheduler = nullptr;
  metrics::ServerMetrics* metrics = nullptr;
  AsyncInferenceBase* inference = nullptr;
  AsyncOpenInferenceBase* open_inference = nullptr;
  // Set before the server ends: new calls are answered UNAVAILABLE.
  std::atomic<bool> refusing{false};
};

// A completion queue event: which call, and what happened to it.
class CallEvent {
 public:
  virtual ~CallEvent() = default;
  // On the queue's thread. `ok` is gRPC's.
  virtual void OnEvent(bool ok) = 0;
};

// One completion queue, the thread that serves it, and its calls. All events of
// a call come on this thread; only the answer is handed to gRPC from a
// worker's.
class InferQueue {
 public:
  // Calls waiting for a request, a method. Each that receives one arms another,
  // so an overload is answered at once and never waits inside gRPC.
  static constexpr int kArmedCalls = 64;

  InferQueue(const CallEnvironment* environment,
             std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~InferQueue();

  // Arms the first calls and starts the thread; after BuildAndStart.
  void Start();
  // After Server::Shutdown and Scheduler::Stop: waits until every received call
  // is answered, then ends the queue and its thread.
  void Stop();

  // Calls received so far, and whether all of them are answered.
  struct Activity {
    int64_t received = 0;
    bool idle = true;
  };
  Activity activity();

  // For calls.
  const CallEnvironment& environment() const { return *environment_; }
  grpc::ServerCompletionQueue* queue() { return queue_.get(); }
  // Runs `arm` unless the queue is ending; says whether it did.
  template <class Arm>
  bool ArmUnlessEnding(Arm arm) {
    absl::MutexLock lock(&mutex_);
    if (ending_) return false;
    arm();
    return true;
  }
  void CallStarted();
  void CallEnded();

 private:
  struct Pools;  // the calls, a pool a method

  void Loop();

  const CallEnvironment* const environment_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<Pools> pools_;
  std::thread thread_;
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t active_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t received_calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fff::rpc

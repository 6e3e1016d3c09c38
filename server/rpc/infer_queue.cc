#include "server/rpc/infer_queue.h"

#include <chrono>

#include "server/rpc/infer_call.h"
#include "server/rpc/infer_stream.h"

namespace fff::rpc {

absl::Status StoppingError() {
  return absl::UnavailableError(
      "the server is shutting down; retry on another one");
}

serving::Clock::time_point SteadyDeadline(const grpc::ServerContext& context,
                                          serving::Clock::time_point now) {
  const auto wall = context.deadline();
  // No deadline is the far end of the clock; a year away is treated as none.
  if (wall == std::chrono::system_clock::time_point::max()) {
    return serving::Clock::time_point::max();
  }
  const auto left = wall - std::chrono::system_clock::now();
  if (left > std::chrono::hours(24 * 365)) {
    return serving::Clock::time_point::max();
  }
  return now + left;
}

struct InferQueue::Pools {
  explicit Pools(InferQueue* owner)
      : predict(owner, &predict_tasks),
        predict_dense(owner, &predict_tasks),
        model_infer(owner, &infer_tasks) {}
  TaskPool<PredictApi> predict_tasks;
  TaskPool<ModelInferApi> infer_tasks;
  CallPool<PredictMethod> predict;
  CallPool<PredictDenseMethod> predict_dense;
  CallPool<ModelInferMethod> model_infer;
};

InferQueue::InferQueue(const CallEnvironment* environment,
                       std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : environment_(environment),
      queue_(std::move(queue)),
      pools_(std::make_unique<Pools>(this)) {}

InferQueue::~InferQueue() { Stop(); }

void InferQueue::Start() {
  for (int i = 0; i < kArmedCalls; ++i) {
    pools_->predict.ArmOne();
    pools_->predict_dense.ArmOne();
    pools_->model_infer.ArmOne();
  }
  for (int i = 0; i < kArmedStreams; ++i) {
    InferStream<PredictStreamMethod>::ArmOne(this, &pools_->predict_tasks);
    InferStream<ModelStreamInferMethod>::ArmOne(this, &pools_->infer_tasks);
  }
  thread_ = std::thread([this] { Loop(); });
}

void InferQueue::DrainStreams() {
  absl::MutexLock lock(&mutex_);
  for (DrainableStream* stream : streams_) stream->Drain();
}

void InferQueue::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    if (ending_) return;
    const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return active_calls_ == 0;
    };
    mutex_.Await(absl::Condition(&idle));
    ending_ = true;
  }
  queue_->Shutdown();
  if (thread_.joinable()) {
    thread_.join();
  } else {
    Loop();  // never started: the queue must be drained all the same
  }
}

InferQueue::Activity InferQueue::activity() {
  absl::MutexLock lock(&mutex_);
  return {received_calls_, active_calls_ == 0};
}

void InferQueue::CallStarted() {
  absl::MutexLock lock(&mutex_);
  ++active_calls_;
  ++received_calls_;
}

void InferQueue::CallEnded() {
  absl::MutexLock lock(&mutex_);
  --active_calls_;
}

void InferQueue::StreamStarted(DrainableStream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_.insert(stream);
  ++active_calls_;
  ++received_calls_;
}

void InferQueue::StreamEnded(DrainableStream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_.erase(stream);
  --active_calls_;
}

void InferQueue::Loop() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<CallEvent*>(tag)->OnEvent(ok);
}

}  // namespace fff::rpc

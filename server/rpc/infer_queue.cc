#include "server/rpc/infer_queue.h"

#include <chrono>

#include "server/base/log.h"
#include "server/base/thread.h"
#include "server/rpc/health_calls.h"
#include "server/rpc/infer_call.h"
#include "server/rpc/infer_stream.h"
#include "server/serving/retry_after.h"

namespace fff::rpc {

absl::Status StoppingError() {
  return absl::UnavailableError(
      "the server is shutting down; retry on another one");
}

absl::Status RefusalAnswer(const CallEnvironment& environment,
                           const absl::Status& refusal) {
  if (!environment.overload_is_unavailable ||
      !absl::IsResourceExhausted(refusal)) {
    return refusal;
  }
  absl::Status answer = absl::UnavailableError(refusal.message());
  const auto delay = serving::RetryAfter(refusal);
  if (delay.has_value()) serving::SetRetryAfter(*delay, answer);
  return answer;
}

absl::Status MemoryError(const serving::MemoryBudget& memory, int64_t bytes) {
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
      "the memory for requests is full: ", memory.used(), " bytes of ",
      memory.bytes_max(), " are in use, the request needs ", bytes,
      " more; retry later"));
  // Nobody knows when a client will read; it is no matter of a millisecond.
  serving::SetRetryAfter(std::chrono::milliseconds(100), status);
  return status;
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
      : predict_tasks(&owner->tasks_in_use_),
        infer_tasks(&owner->tasks_in_use_),
        predict(owner, &predict_tasks),
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

void InferQueue::Start(const std::string& thread_name) {
  for (int i = 0; i < kArmedCalls; ++i) {
    pools_->predict.ArmOne();
    pools_->predict_dense.ArmOne();
    pools_->model_infer.ArmOne();
  }
  for (int i = 0; i < kArmedStreams; ++i) {
    InferStream<PredictStreamMethod>::ArmOne(this, &pools_->predict_tasks);
    InferStream<ModelStreamInferMethod>::ArmOne(this, &pools_->infer_tasks);
    ArmHealthCheck(this);
    ArmHealthWatch(this);
  }
  LookLater();
  thread_ = base::StartThread(thread_name, [this] { Loop(); });
}

void InferQueue::DrainStreams() {
  absl::MutexLock lock(&mutex_);
  for (DrainableStream* stream : streams_) stream->Drain();
}

void InferQueue::Stop() {
  if (stop_called_) return;
  stop_called_ = true;
  if (thread_.joinable()) {
    stop_alarm_.Set(queue_.get(), gpr_now(GPR_CLOCK_MONOTONIC), &stop_event_);
    thread_.join();
    return;
  }
  // Never started: the queue must be drained all the same.
  ending_ = true;
  queue_->Shutdown();
  Loop();
}

void InferQueue::OnStop(bool /*ok*/) {
  stopping_ = true;
  EndWhenIdle();
}

void InferQueue::EndWhenIdle() {
  if (!stopping_ || ending_ || active_calls_.load() > 0) return;
  ending_ = true;
  look_alarm_.Cancel();
  queue_->Shutdown();  // Loop goes on until the queue is empty
}

void InferQueue::LookLater() {
  if (environment_->unread_timeout.count() == 0 || ending_) return;
  look_alarm_.Set(queue_.get(),
                  gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                               gpr_time_from_seconds(1, GPR_TIMESPAN)),
                  &look_event_);
}

void InferQueue::OnLook(bool /*ok*/) {
  const serving::MemoryBudget& memory = *environment_->memory;
  const AnswerHolders::Dropped dropped = answer_holders_.DropUnread(
      serving::Clock::now(), memory.used(), memory.bytes_max(),
      environment_->unread_timeout);
  if (dropped.calls > 0) {
    base::LogWarning(
        absl::StrCat("memory for requests is short: dropped ", dropped.calls,
                     " calls that held ", dropped.bytes,
                     " bytes for answers which their clients do not read"));
  }
  LookLater();
}

InferQueue::Activity InferQueue::activity() const {
  return {received_calls_.load(), active_calls_.load() == 0};
}

void InferQueue::CallStarted() {
  active_calls_.fetch_add(1, std::memory_order_relaxed);
  received_calls_.fetch_add(1, std::memory_order_relaxed);
}

void InferQueue::CallEnded() {
  active_calls_.fetch_sub(1, std::memory_order_relaxed);
  EndWhenIdle();
}

void InferQueue::StreamStarted(DrainableStream* stream) {
  {
    absl::MutexLock lock(&mutex_);
    streams_.insert(stream);
  }
  CallStarted();
}

void InferQueue::StreamEnded(DrainableStream* stream) {
  {
    absl::MutexLock lock(&mutex_);
    streams_.erase(stream);
  }
  CallEnded();
}

void InferQueue::Loop() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<CallEvent*>(tag)->OnEvent(ok);
}

}  // namespace fff::rpc

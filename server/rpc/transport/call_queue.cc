#include "server/rpc/transport/call_queue.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/thread.h"

namespace fff::rpc {

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

void CallQueue::StartThread(const std::string& name) {
  LookLater();
  thread_ = base::StartThread(name, [this] { Loop(); });
}

void CallQueue::DrainStreams() {
  absl::MutexLock lock(&mutex_);
  for (DrainableStream* stream : streams_) stream->Drain();
}

void CallQueue::Stop() {
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

void CallQueue::OnStop(bool /*ok*/) {
  stopping_ = true;
  EndWhenIdle();
}

void CallQueue::EndWhenIdle() {
  if (!stopping_ || ending_ || active_calls_.load() > 0) return;
  ending_ = true;
  look_alarm_.Cancel();
  queue_->Shutdown();  // Loop goes on until the queue is empty
}

void CallQueue::LookLater() {
  if (environment_->unread_timeout.count() == 0 || ending_) return;
  look_alarm_.Set(queue_.get(),
                  gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                               gpr_time_from_seconds(1, GPR_TIMESPAN)),
                  &look_event_);
}

void CallQueue::OnLook(bool /*ok*/) {
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

CallQueue::Activity CallQueue::activity() const {
  return {received_calls_.load(), active_calls_.load() == 0};
}

void CallQueue::CallStarted() {
  active_calls_.fetch_add(1, std::memory_order_relaxed);
  received_calls_.fetch_add(1, std::memory_order_relaxed);
}

void CallQueue::CallEnded() {
  const int64_t before = active_calls_.fetch_sub(1, std::memory_order_relaxed);
  FFF_CHECK(before > 0);
  EndWhenIdle();
}

void CallQueue::StreamStarted(DrainableStream* stream) {
  {
    absl::MutexLock lock(&mutex_);
    streams_.insert(stream);
  }
  CallStarted();
}

void CallQueue::StreamEnded(DrainableStream* stream) {
  {
    absl::MutexLock lock(&mutex_);
    streams_.erase(stream);
  }
  CallEnded();
}

void CallQueue::Loop() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<CallEvent*>(tag)->OnEvent(ok);
}

}  // namespace fff::rpc

#include "server/rpc/transport/call_queue.h"

#include <pthread.h>

#include <chrono>

#include "absl/algorithm/container.h"
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
  thread_ = base::StartThread(name, [this] { Run(); });
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
  Serve();
}

void CallQueue::OnStop(bool /*ok*/) {
  stopping_ = true;
  EndWhenIdle();
}

void CallQueue::EndWhenIdle() {
  if (!stopping_ || ending_ || active_calls_.load() > 0) return;
  ending_ = true;
  look_alarm_.Cancel();
  queue_->Shutdown();  // Serve goes on until the queue is empty
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

QueueMember::Work CallQueue::work() const {
  Work work;
  work.events = events_.load(std::memory_order_relaxed);
  for (size_t m = 0; m < kUnaryMethods; ++m) {
    work.received[m] = received_[m].load(std::memory_order_relaxed);
  }
  timespec time = {};
  // The thread may have ended.
  if (has_clock_.load() && clock_gettime(clock_, &time) == 0) {
    work.busy_seconds = static_cast<double>(time.tv_sec) +
                        static_cast<double>(time.tv_nsec) * 1e-9;
  }
  return work;
}

void CallQueue::Nudge() {
  if (nudged_.exchange(true)) return;
  nudge_alarm_.Set(queue_.get(), gpr_now(GPR_CLOCK_MONOTONIC), &nudge_event_);
}

void CallQueue::MayDoze() {
  // Its thread is told once; a queue that rests hears it when it returns.
  if (!may_doze_.exchange(true)) Nudge();
}

void CallQueue::OnNudge(bool /*ok*/) {
  // Reads what its setter did before, even where that found it set.
  nudged_.exchange(false);
  ArmMissing();
}

bool CallQueue::MayArm(int method) {
  if (leaving_ || ending_ || queues_->held_back(method)) return false;
  ++armed_[static_cast<size_t>(method)];
  return true;
}

void CallQueue::Received(int method) {
  const auto m = static_cast<size_t>(method);
  --armed_[m];
  received_[m].store(received_[m].load(std::memory_order_relaxed) + 1,
                     std::memory_order_relaxed);
  if (!leaving_) return;
  may_doze_.store(false);  // calls of this method come
  queues_->UsedUp(method);
}

void CallQueue::ArmMissing() {
  for (int m = 0; m < kUnaryMethods; ++m) {
    if (rank_ > 0 && !queues_->in_use(m)) continue;
    for (int i = armed_[static_cast<size_t>(m)]; i < kArmedCalls; ++i) {
      ArmCall(m);
    }
  }
}

void CallQueue::LeaveOrReturn() {
  if (queues_->wanted(rank_) != leaving_) return;
  leaving_ = !leaving_;
  if (leaving_) {
    queues_->Leave(armed_);
  } else {
    queues_->Return(armed_);
    ArmMissing();
  }
}

bool CallQueue::empty() const {
  return active_calls_.load() == 0 &&
         absl::c_all_of(armed_, [](int calls) { return calls == 0; });
}

bool CallQueue::Next(void** tag, bool* ok) {
  using grpc::CompletionQueue;
  while (leaving_ && !stopping_ && active_calls_.load() == 0 &&
         may_doze_.load(std::memory_order_relaxed)) {
    if (!queues_->Doze(rank_)) {
      may_doze_.store(false);
      break;
    }
    const CompletionQueue::NextStatus status =
        queue_->AsyncNext(tag, ok, gpr_time_0(GPR_CLOCK_MONOTONIC));
    if (status != CompletionQueue::TIMEOUT) {
      return status == CompletionQueue::GOT_EVENT;
    }
  }
  return queue_->Next(tag, ok);
}

bool CallQueue::Serve() {
  void* tag = nullptr;
  bool ok = false;
  while (Next(&tag, &ok)) {
    static_cast<CallEvent*>(tag)->OnEvent(ok);
    events_.store(events_.load(std::memory_order_relaxed) + 1,
                  std::memory_order_relaxed);
    queues_->AfterEvent();
    LeaveOrReturn();
    if (HasLeft()) return true;
  }
  return false;
}

void CallQueue::Run() {
  has_clock_.store(pthread_getcpuclockid(pthread_self(), &clock_) == 0);
  LeaveOrReturn();
  do {
    queues_->AwaitTurn(rank_);
    may_doze_.store(false);
    LeaveOrReturn();
  } while (Serve());
}

}  // namespace fff::rpc

#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <time.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/transport/active_queues.h"
#include "server/rpc/transport/call_environment.h"
#include "server/rpc/transport/unread_answers.h"

// Calls on asynchronous completion queues: with gRPC 1.51 the callback API
// costs about a third more CPU per call and stalls for tens of milliseconds
// when calls are sparse.
namespace fff::rpc {

// A completion queue event: which call, and what happened to it.
class CallEvent {
 public:
  virtual ~CallEvent() = default;
  // On the queue's thread. `ok` is gRPC's.
  virtual void OnEvent(bool ok) = 0;
};

// The event that calls a member function of `Call`.
template <class Call>
class MemberEvent final : public CallEvent {
 public:
  using Method = void (Call::*)(bool);
  MemberEvent(Call* call, Method method) : call_(call), method_(method) {}
  void OnEvent(bool ok) override { (call_->*method_)(ok); }

 private:
  Call* const call_;
  const Method method_;
};

// A stream that can be asked to read no more and to end when all it has read
// is answered.
class DrainableStream {
 public:
  virtual ~DrainableStream() = default;
  virtual void Drain() = 0;  // any thread
};

// The call's deadline on the clock of tasks; `now` is that clock's.
serving::Clock::time_point SteadyDeadline(const grpc::ServerContext& context,
                                          serving::Clock::time_point now);

// One completion queue and the thread that serves it, as its calls see them. A
// derived class says which calls there are. All events of a call come on this
// thread, but for the opening of a stream, which is the front queue's; only
// answers are handed to gRPC from a worker's. While ActiveQueues does not want
// the queue, it has no calls armed and its thread rests.
class CallQueue : public QueueMember {
 public:
  ~CallQueue() override = default;  // once stopped

  // Calls waiting for a request, per unary method that is used. Each that
  // receives one arms another, so an overload is answered at once and never
  // waits inside gRPC.
  static constexpr int kArmedCalls = 64;

  // Makes open streams end; once `refusing` is set, later ones end by
  // themselves.
  void DrainStreams();
  // After Server::Shutdown and Scheduler::Stop: waits until every received call
  // is answered, then ends the queue and its thread.
  void Stop();

  // Calls received so far, streams too, and whether all of them have ended.
  struct Activity {
    int64_t received = 0;
    bool idle = true;
  };
  Activity activity() const;

  Work work() const override;
  void Nudge() override;
  void MayDoze() override;

  // For calls, on the queue's thread.
  const CallEnvironment& environment() const { return *environment_; }
  grpc::ServerCompletionQueue* queue() { return queue_.get(); }
  // The queue is ending: no call may be armed any more.
  bool ending() const { return ending_; }
  // For a task that was just taken from a pool.
  serving::Scheduler::InlineOffer Offer() {
    return {&runner_, tasks_in_use_ > 1};
  }
  int* tasks_in_use() { return &tasks_in_use_; }  // for the pools to count
  void CallStarted();
  void CallEnded();
  // Calls that may be dropped while their clients do not read; between these.
  AnswerHolders& answer_holders() { return answer_holders_; }
  // The first may be called by the front queue's thread.
  void StreamStarted(DrainableStream* stream);
  void StreamEnded(DrainableStream* stream);

  // Of the unary method with this index. Whether another call may be armed; it
  // is counted then. And that one of those received its request.
  bool MayArm(int method);
  void Received(int method);

  // The queue that waits for streams to be opened, for all queues.
  CallQueue& front() { return static_cast<CallQueue&>(queues_->front()); }
  // Waits for a stream of the method with this index; on the front queue alone.
  virtual void ArmStream(int method) = 0;
  // A stream of inferences lives on this queue from its opening on.
  void StreamOpened() { queues_->StreamOpened(rank_); }
  void OpenedStreamEnded(int method) { queues_->StreamEnded(method, rank_); }

 protected:
  // The queue with `rank` of `queues`, which outlives it.
  CallQueue(const CallEnvironment* environment,
            std::unique_ptr<grpc::ServerCompletionQueue> queue,
            ActiveQueues* queues, int rank)
      : environment_(environment),
        queue_(std::move(queue)),
        queues_(queues),
        rank_(rank) {}
  void StartThread(const std::string& name);
  CallQueue& TakeStream(int method) {
    return static_cast<CallQueue&>(queues_->TakeStream(method));
  }
  // Arms one call of the unary method with this index where MayArm.
  virtual void ArmCall(int method) = 0;

 private:
  void Run();
  // Until the queue has left, or is empty and ended: true and false.
  bool Serve();
  // Follows what is wanted of the queue.
  void LeaveOrReturn();
  // No calls are armed or under way: it has left, or is about to.
  bool empty() const;
  bool HasLeft() const { return leaving_ && !stopping_ && !ending_ && empty(); }
  // The next event, as CompletionQueue::Next; maybe dozing for it.
  bool Next(void** tag, bool* ok);
  void ArmMissing();
  void OnNudge(bool ok);
  void OnStop(bool ok);
  // Once a second: drops answers that nobody reads when memory is short.
  void OnLook(bool ok);
  void LookLater();
  void EndWhenIdle();

  const CallEnvironment* const environment_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  ActiveQueues* const queues_;
  const int rank_;
  std::thread thread_;
  grpc::Alarm stop_alarm_;  // tells the queue's thread to stop
  MemberEvent<CallQueue> stop_event_{this, &CallQueue::OnStop};
  grpc::Alarm look_alarm_;
  MemberEvent<CallQueue> look_event_{this, &CallQueue::OnLook};
  grpc::Alarm nudge_alarm_;
  MemberEvent<CallQueue> nudge_event_{this, &CallQueue::OnNudge};
  std::atomic<bool> nudged_{false};  // the alarm is set
  std::atomic<bool> may_doze_{false};
  bool stop_called_ = false;  // of whoever starts and stops

  // Of the queue's thread, which takes no lock for a unary call.
  serving::BatchRunner runner_{/*threads=*/1};
  int tasks_in_use_ = 0;
  AnswerHolders answer_holders_;
  bool stopping_ = false;
  bool ending_ = false;
  bool leaving_ = true;  // or has left; arms no calls
  UnaryCounts armed_{};
  // Written by the queue's thread, and where a stream is opened by the front
  // queue's; read by any.
  std::atomic<int64_t> active_calls_{0};
  std::atomic<int64_t> received_calls_{0};
  // Written by the queue's thread alone, read by any.
  std::atomic<int64_t> events_{0};
  std::array<std::atomic<int64_t>, kUnaryMethods> received_{};
  std::atomic<bool> has_clock_{false};
  clockid_t clock_ = 0;  // of the thread's CPU time, once has_clock_

  absl::Mutex mutex_;
  absl::flat_hash_set<DrainableStream*> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::rpc

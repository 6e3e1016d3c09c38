#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
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
// thread; only answers are handed to gRPC from a worker's.
class CallQueue {
 public:
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
  void StreamStarted(DrainableStream* stream);
  void StreamEnded(DrainableStream* stream);

 protected:
  CallQueue(const CallEnvironment* environment,
            std::unique_ptr<grpc::ServerCompletionQueue> queue)
      : environment_(environment), queue_(std::move(queue)) {}
  ~CallQueue() = default;  // once stopped

  void StartThread(const std::string& name);

 private:
  void Loop();
  void OnStop(bool ok);
  // Once a second: drops answers that nobody reads when memory is short.
  void OnLook(bool ok);
  void LookLater();
  void EndWhenIdle();

  const CallEnvironment* const environment_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
  grpc::Alarm stop_alarm_;  // tells the queue's thread to stop
  MemberEvent<CallQueue> stop_event_{this, &CallQueue::OnStop};
  grpc::Alarm look_alarm_;
  MemberEvent<CallQueue> look_event_{this, &CallQueue::OnLook};
  bool stop_called_ = false;  // of whoever starts and stops

  // Of the queue's thread, which takes no lock for a unary call.
  serving::BatchRunner runner_{/*threads=*/1};
  int tasks_in_use_ = 0;
  AnswerHolders answer_holders_;
  bool stopping_ = false;
  bool ending_ = false;
  // Written by the queue's thread alone, read by any.
  std::atomic<int64_t> active_calls_{0};
  std::atomic<int64_t> received_calls_{0};

  absl::Mutex mutex_;
  absl::flat_hash_set<DrainableStream*> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::rpc

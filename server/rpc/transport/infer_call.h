#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "server/rpc/transport/call_queue.h"
#include "server/rpc/transport/infer_methods.h"
#include "server/rpc/transport/infer_task.h"

// One unary inference call from request to answer, for each unary method of
// infer_methods.h.
namespace fff::rpc {

template <class Method>
class InferCall;

// The idle calls of one method of one queue. Used on the queue's thread alone.
template <class Method>
class CallPool {
 public:
  using Tasks = TaskPool<typename Method::Api>;

  // Both outlive the pool.
  CallPool(CallQueue* owner, Tasks* tasks) : owner_(owner), tasks_(tasks) {}
  void ArmOne();  // where the queue may
  void Release(std::unique_ptr<InferCall<Method>> call);

 private:
  static constexpr size_t kIdleMax = 256;
  CallQueue* const owner_;
  Tasks* const tasks_;
  std::vector<std::unique_ptr<InferCall<Method>>> idle_;
};

// One call slot: waits for a request, answers it, and is then reused. Received,
// finished and done events come on the queue's thread; OnAnswer on any, where
// handing the answer to gRPC is the last touch of the object. While a call is
// armed or active it owns itself; idle, the pool owns it.
template <class Method>
class InferCall final : public InferTask<typename Method::Api>::Owner,
                        public AnswerHolder {
 public:
  using Task = InferTask<typename Method::Api>;

  InferCall(CallQueue* owner, CallPool<Method>* calls,
            typename CallPool<Method>::Tasks* tasks)
      : owner_(owner), calls_(calls), tasks_(tasks) {}

  // Waits for a request. The queue must not be ending.
  void Arm() {
    context_.emplace();
    responder_.emplace(&*context_);
    context_->AsyncNotifyWhenDone(&done_event_);
    Method::Arm(owner_->environment(), &*context_, &request_, &*responder_,
                owner_->queue(), owner_->queue(), &received_event_);
  }

  void OnAnswer(Task& task, const absl::Status& status) override {
    if (details_.wants_timing) {
      context_->AddTrailingMetadata(kTimingKey,
                                    TimingText(task.split(), task.timing));
    }
    AnswerSent(task.answered_at());
    // Nothing of this object may be touched after these calls: the queue's
    // thread may already be reusing it.
    if (status.ok()) {
      responder_->Finish(task.answer(), grpc::Status::OK, &finished_event_);
    } else {
      AddRetryPushback(status, *context_);
      responder_->FinishWithError(ToGrpc(status), &finished_event_);
    }
  }

  int64_t held_bytes() const override { return task_->charged_bytes(); }
  void Drop() override {
    AnswerTaken();  // not twice
    context_->TryCancel();
  }

 private:
  using Event = MemberEvent<InferCall>;

  void OnReceived(bool ok) {
    if (!ok) {  // the server shuts down; no done event will come
      delete this;
      return;
    }
    Arrival arrival;
    arrival.method = Method::kMethod;
    arrival.at = serving::Clock::now();
    arrival.deadline = SteadyDeadline(*context_, arrival.at);
    details_ = ReadDetails(*context_);
    arrival.details = &details_;
    owner_->CallStarted();
    owner_->Received(Method::kIndex);
    calls_->ArmOne();
    task_ = tasks_->Take();
    owner_->answer_holders().Add(this);
    arrival.offer = owner_->Offer();
    task_->Start(&owner_->environment(), arrival, &request_, this);
  }

  void OnFinished(bool /*ok*/) {
    finished_ = true;
    if (done_) Recycle();
  }

  void OnCallDone(bool /*ok*/) {
    done_ = true;
    if (context_->IsCancelled()) {
      task_->cancelled.store(true, std::memory_order_relaxed);
    }
    if (finished_) Recycle();
  }

  // Both last events have come: nobody else refers to this object any more.
  void Recycle() {
    finished_ = false;
    done_ = false;
    request_.Clear();
    AnswerTaken();
    owner_->answer_holders().Remove(this);
    tasks_->Release(std::move(task_));
    owner_->CallEnded();
    calls_->Release(std::unique_ptr<InferCall>(this));
  }

  CallQueue* const owner_;
  CallPool<Method>* const calls_;
  typename CallPool<Method>::Tasks* const tasks_;
  Event received_event_{this, &InferCall::OnReceived};
  Event finished_event_{this, &InferCall::OnFinished};
  Event done_event_{this, &InferCall::OnCallDone};
  std::optional<grpc::ServerContext> context_;
  grpc::ByteBuffer request_;
  std::optional<grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>> responder_;
  CallDetails details_;
  std::unique_ptr<Task> task_;  // while a request is being answered
  bool finished_ = false;
  bool done_ = false;
};

template <class Method>
void CallPool<Method>::ArmOne() {
  if (!owner_->MayArm(Method::kIndex)) return;
  std::unique_ptr<InferCall<Method>> call;
  if (idle_.empty()) {
    call = std::make_unique<InferCall<Method>>(owner_, this, tasks_);
  } else {
    call = std::move(idle_.back());
    idle_.pop_back();
  }
  call.release()->Arm();
}

template <class Method>
void CallPool<Method>::Release(std::unique_ptr<InferCall<Method>> call) {
  if (idle_.size() < kIdleMax) idle_.push_back(std::move(call));
}

}  // namespace fff::rpc

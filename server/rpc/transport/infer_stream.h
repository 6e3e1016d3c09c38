#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/base/check.h"
#include "server/rpc/transport/call_queue.h"
#include "server/rpc/transport/infer_methods.h"
#include "server/rpc/transport/infer_task.h"
#include "server/rpc/transport/stream_flow.h"

// One stream of requests and answers, for each streaming method of
// infer_methods.h. What it does next is decided by StreamFlow.
namespace fff::rpc {

// Read, written, finished and done events come on the queue's thread, received
// on the front queue's, OnAnswer and Drain on any. Owns itself and deletes
// itself when the last event has come. The steps that the flow returns are
// taken outside the lock: each kind of operation runs one at a time, and while
// one runs the stream stays.
template <class Method>
class InferStream final : public InferTask<typename Method::Api>::Owner,
                          public DrainableStream,
                          public AnswerHolder {
 public:
  using Task = InferTask<typename Method::Api>;
  using Tasks = TaskPool<typename Method::Api>;

  // Waits, on the front queue, for a stream to be opened that will be its
  // owner's. The pointers outlive the stream.
  static void ArmOne(CallQueue* owner, Tasks* tasks) {
    auto* stream = new InferStream(owner, tasks);
    Method::Arm(owner->environment(), &stream->context_, &stream->stream_,
                owner->queue(), owner->front().queue(),
                &stream->received_event_);
  }

  void OnAnswer(Task& task, const absl::Status& /*in the answer*/) override {
    Plan plan;
    {
      absl::MutexLock lock(&mutex_);
      answered_.push_back(&task);
      plan = Detail(flow_.Answered(task.answer_bytes()));
    }
    // Without a step the queue's thread may have ended the stream by now.
    if (plan.step.any()) Start(plan);
  }

  int64_t held_bytes() const override {
    absl::MutexLock lock(&mutex_);
    int64_t bytes = 0;
    for (const auto& task : running_) bytes += task->charged_bytes();
    return bytes;
  }
  void Drop() override {
    AnswerTaken();  // not twice
    context_.TryCancel();
  }

  void Drain() override {
    Plan plan;
    {
      absl::MutexLock lock(&mutex_);
      plan = Detail(flow_.Drain());
    }
    // Without a step the queue's thread may have ended the stream by now.
    if (plan.step.any()) Start(plan);
  }

 private:
  using Event = MemberEvent<InferStream>;

  // A step of the flow with what it needs.
  struct Plan {
    StreamFlow::Step step;
    const Task* written = nullptr;
    bool more_answers = false;
    absl::Status refusal;  // OK when the client has closed its side
  };

  InferStream(CallQueue* owner, Tasks* tasks)
      : owner_(owner), tasks_(tasks), stream_(&context_) {
    context_.AsyncNotifyWhenDone(&done_event_);
  }

  Plan Detail(StreamFlow::Step step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Plan plan;
    plan.step = step;
    if (step.write) plan.written = answered_.front();
    plan.more_answers = answered_.size() > 1;
    if (step.finish) plan.refusal = Refusal();
    return plan;
  }

  // How the stream ends.
  absl::Status Refusal() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!refusal_.ok()) return refusal_;
    return flow_.read_ended() ? absl::OkStatus() : StoppingError();
  }

  void Start(const Plan& plan) {
    if (plan.step.write) {
      grpc::WriteOptions options;
      // Another answer follows at once: both may leave in one packet.
      if (plan.more_answers) options.set_buffer_hint();
      AnswerSent(serving::Clock::now());
      stream_.Write(plan.written->answer(), options, &written_event_);
    }
    if (plan.step.read) stream_.Read(&request_, &read_event_);
    if (plan.step.finish) {
      AddRetryPushback(plan.refusal, context_);
      stream_.Finish(ToGrpc(plan.refusal), &finished_event_);
    }
  }

  void OnReceived(bool ok) {
    if (!ok) {  // the server shuts down; no done event will come
      delete this;
      return;
    }
    owner_->front().ArmStream(Method::kIndex);
    arrival_.method = Method::kMethod;
    arrival_.deadline = SteadyDeadline(context_, serving::Clock::now());
    details_ = ReadDetails(context_);
    arrival_.details = &details_;
    owner_->StreamStarted(this);
    owner_->StreamOpened();
    const absl::Status refusal = CheckMetadata(owner_->environment(), details_);
    Plan plan;
    {
      absl::MutexLock lock(&mutex_);
      refusal_ = refusal;
      const bool refused = !refusal.ok() || owner_->environment().refusing;
      plan = Detail(refused ? flow_.Drain() : flow_.Opened());
    }
    Start(plan);
  }

  void OnRead(bool ok) {
    if (!held_) {
      held_ = true;
      owner_->answer_holders().Add(this);
    }
    Plan plan;
    Task* task = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      if (!ok || flow_.finishing()) {
        plan = Detail(flow_.ReadEnded());
      } else {
        running_.push_back(tasks_->Take());
        task = running_.back().get();
        if (cancelled_) task->cancelled.store(true, std::memory_order_relaxed);
        plan =
            Detail(flow_.ReadRequest(static_cast<int64_t>(request_.Length())));
      }
    }
    // The next read fills request_ again, so this one is used up first.
    if (task != nullptr) {
      arrival_.at = serving::Clock::now();
      arrival_.offer = owner_->Offer();
      task->Start(&owner_->environment(), arrival_, &request_, this);
    }
    Start(plan);
    EndWhenClosed();
  }

  void OnWritten(bool /*ok*/) {
    AnswerTaken();
    Plan plan;
    {
      absl::MutexLock lock(&mutex_);
      FFF_CHECK(!answered_.empty());
      const Task* const written = answered_.front();
      answered_.pop_front();
      plan = Detail(
          flow_.Written(written->request_bytes() + written->answer_bytes()));
      const auto at = std::find_if(
          running_.begin(), running_.end(),
          [written](const auto& task) { return task.get() == written; });
      FFF_CHECK(at != running_.end());
      tasks_->Release(std::exchange(*at, std::move(running_.back())));
      running_.pop_back();
    }
    Start(plan);
  }

  void OnFinished(bool /*ok*/) {
    finished_ = true;
    EndWhenClosed();
  }

  void OnCallDone(bool /*ok*/) {
    done_ = true;
    if (context_.IsCancelled()) {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
      for (const auto& task : running_) {
        task->cancelled.store(true, std::memory_order_relaxed);
      }
    }
    EndWhenClosed();
  }

  // After the last event nobody else refers to this object.
  void EndWhenClosed() {
    if (!finished_ || !done_) return;
    {
      absl::MutexLock lock(&mutex_);
      if (flow_.reading()) return;
    }
    if (held_) owner_->answer_holders().Remove(this);
    owner_->StreamEnded(this);
    owner_->OpenedStreamEnded(Method::kIndex);
    delete this;
  }

  CallQueue* const owner_;
  Tasks* const tasks_;
  Event received_event_{this, &InferStream::OnReceived};
  Event read_event_{this, &InferStream::OnRead};
  Event written_event_{this, &InferStream::OnWritten};
  Event finished_event_{this, &InferStream::OnFinished};
  Event done_event_{this, &InferStream::OnCallDone};
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_;
  grpc::ByteBuffer request_;  // the one being read
  CallDetails details_;
  Arrival arrival_;
  bool held_ = false;      // queue's thread; among its answer_holders
  bool finished_ = false;  // queue's thread
  bool done_ = false;      // queue's thread
  mutable absl::Mutex mutex_;
  StreamFlow flow_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);  // why none of it is read
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Read and not yet written; of those, with an answer, the first being
  // written.
  std::vector<std::unique_ptr<Task>> running_ ABSL_GUARDED_BY(mutex_);
  std::deque<Task*> answered_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fff::rpc

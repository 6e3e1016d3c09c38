#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "server/base/status_macros.h"
#include "server/rpc/encode.h"
#include "server/rpc/infer_api.h"
#include "server/rpc/infer_queue.h"
#include "server/rpc/status_mapping.h"

// One inference call from request to answer, for each method of infer_api.h.
namespace fff::rpc {

// Message buffers above this are given back after the call, so that one huge
// request is not held for ever; smaller ones are reused.
inline constexpr size_t kKeptMessageBytesMax = size_t{1} << 20;

inline serving::Clock::time_point SteadyDeadline(
    const grpc::ServerContext& context) {
  const auto wall = context.deadline();
  const auto now = std::chrono::system_clock::now();
  // No deadline is the far end of the clock; a year away is treated as none.
  if (wall - now > std::chrono::hours(24 * 365)) {
    return serving::Clock::time_point::max();
  }
  return serving::Clock::now() + (wall - now);
}

template <class Api>
class InferCall;

// The idle calls of one method of one queue. Used on the queue's thread alone.
template <class Api>
class CallPool {
 public:
  explicit CallPool(InferQueue* owner) : owner_(owner) {}
  void ArmOne();
  void Release(std::unique_ptr<InferCall<Api>> call);

 private:
  static constexpr size_t kIdleMax = 256;
  InferQueue* const owner_;
  std::vector<std::unique_ptr<InferCall<Api>>> idle_;
};

// One call slot: waits for a request, answers it, and is then reused. Received,
// finished and done events come on the queue's thread; OnDone on a worker's,
// where handing the answer to gRPC is the last touch of the object. While a
// call is armed or active it owns itself; idle, the pool owns it.
template <class Api>
class InferCall final : public serving::Task {
 public:
  InferCall(InferQueue* owner, CallPool<Api>* pool)
      : owner_(owner), pool_(pool) {}

  // Waits for a request; deletes itself when the queue is ending.
  void Arm() {
    context_.emplace();
    responder_.emplace(&*context_);
    context_->AsyncNotifyWhenDone(&done_event_);
    const bool armed = owner_->ArmUnlessEnding([this] {
      Api::Arm(owner_->environment(), &*context_, &request_, &*responder_,
               owner_->queue(), owner_->queue(), &received_event_);
    });
    if (!armed) delete this;
  }

  void OnDone(const absl::Status& status) override { Answer(status); }

 private:
  using Method = void (InferCall::*)(bool);
  struct Event final : CallEvent {
    Event(InferCall* call_in, Method method_in)
        : call(call_in), method(method_in) {}
    void OnEvent(bool ok) override { (call->*method)(ok); }
    InferCall* const call;
    const Method method;
  };

  void OnReceived(bool ok) {
    if (!ok) {  // the server shuts down; no done event will come
      delete this;
      return;
    }
    start_ = serving::Clock::now();
    owner_->CallStarted();
    pool_->ArmOne();
    const absl::Status status = Begin();
    if (!status.ok()) Answer(status);
  }

  // Decodes and submits; the answer comes from OnDone when this returns OK.
  absl::Status Begin() {
    const CallEnvironment& environment = owner_->environment();
    if (environment.refusing.load(std::memory_order_relaxed)) {
      return absl::UnavailableError(
          "the server is shutting down; retry on another one");
    }
    FFF_ASSIGN_OR_RETURN(servable_, Api::Find(environment, request_));
    servable_->metrics().inflight.Add(1);
    const absl::StatusOr<tensor::ConstRows> input =
        Api::Decode(request_, servable_->model(), scratch_);
    if (!input.ok()) {
      return base::Annotate(input.status(), servable_->Describe());
    }
    x = *input;
    y = PrepareOutput(*servable_, x.rows, response_);
    deadline = SteadyDeadline(*context_);
    FFF_RETURN_IF_ERROR(ApplyOptions());
    return environment.scheduler->Submit(servable_, this);
  }

  absl::Status ApplyOptions() {
    routes = {};
    if constexpr (std::is_same_v<typename Api::Request, v1::PredictRequest>) {
      if (request_.include_routing()) {
        routing_.Prepare(servable_->model(), x.rows);
        routes = routing_.sinks;
      }
    } else {
      FFF_ASSIGN_OR_RETURN(const std::chrono::microseconds timeout,
                           DecodeTimeout(request_));
      if (timeout.count() > 0) deadline = std::min(deadline, start_ + timeout);
    }
    return absl::OkStatus();
  }

  void Answer(const absl::Status& status) {
    if (status.ok()) {
      if constexpr (std::is_same_v<typename Api::Request, v1::PredictRequest>) {
        FinishResponse(request_, *servable_, *this,
                       request_.include_routing() ? &routing_ : nullptr,
                       response_);
      } else {
        FinishResponse(request_, *servable_, *this, response_);
      }
    }
    Record(status);
    // Nothing of this object may be touched after these calls: the queue's
    // thread may already be reusing it.
    if (status.ok()) {
      responder_->Finish(response_, grpc::Status::OK, &finished_event_);
    } else {
      responder_->FinishWithError(ToGrpc(status), &finished_event_);
    }
  }

  void Record(const absl::Status& status) {
    metrics::ModelMetrics& metrics =
        servable_ != nullptr ? servable_->metrics()
                             : owner_->environment().metrics->unknown_model();
    const auto duration = std::chrono::duration_cast<std::chrono::nanoseconds>(
        serving::Clock::now() - start_);
    metrics.RecordRequest(Api::kMethod, static_cast<int>(status.code()),
                          static_cast<uint64_t>(duration.count()));
    if (servable_ == nullptr) return;
    metrics.inflight.Add(-1);
    if (!status.ok()) return;
    metrics.last_inference_ms.store(
        std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::system_clock::now().time_since_epoch())
            .count(),
        std::memory_order_relaxed);
  }

  void OnFinished(bool /*ok*/) {
    finished_ = true;
    if (done_) Recycle();
  }

  void OnCallDone(bool /*ok*/) {
    done_ = true;
    if (context_->IsCancelled()) {
      cancelled.store(true, std::memory_order_relaxed);
    }
    if (finished_) Recycle();
  }

  // Both last events have come: nobody else refers to this object any more.
  void Recycle() {
    finished_ = false;
    done_ = false;
    cancelled.store(false, std::memory_order_relaxed);
    servable_.reset();
    ClearMessage(request_);
    ClearMessage(response_);
    routing_ = RoutingBuffers();
    scratch_ = tensor::FloatBuffer();
    owner_->CallEnded();
    pool_->Release(std::unique_ptr<InferCall>(this));
  }

  template <class Message>
  static void ClearMessage(Message& message) {
    if (message.SpaceUsedLong() > kKeptMessageBytesMax) {
      message = Message();
    } else {
      message.Clear();
    }
  }

  InferQueue* const owner_;
  CallPool<Api>* const pool_;
  Event received_event_{this, &InferCall::OnReceived};
  Event finished_event_{this, &InferCall::OnFinished};
  Event done_event_{this, &InferCall::OnCallDone};
  std::optional<grpc::ServerContext> context_;
  typename Api::Request request_;
  typename Api::Response response_;
  std::optional<grpc::ServerAsyncResponseWriter<typename Api::Response>>
      responder_;
  std::shared_ptr<const serving::Servable> servable_;
  tensor::FloatBuffer scratch_;
  RoutingBuffers routing_;
  serving::Clock::time_point start_;
  bool finished_ = false;
  bool done_ = false;
};

template <class Api>
void CallPool<Api>::ArmOne() {
  std::unique_ptr<InferCall<Api>> call;
  if (idle_.empty()) {
    call = std::make_unique<InferCall<Api>>(owner_, this);
  } else {
    call = std::move(idle_.back());
    idle_.pop_back();
  }
  call.release()->Arm();
}

template <class Api>
void CallPool<Api>::Release(std::unique_ptr<InferCall<Api>> call) {
  if (idle_.size() < kIdleMax) idle_.push_back(std::move(call));
}

}  // namespace fff::rpc

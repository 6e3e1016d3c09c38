#include "server/rpc/transport/health_calls.h"

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/rpc/messages/status_mapping.h"
#include "server/rpc/transport/health_service.h"

namespace fff::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// Received, then answered; both on the queue's thread.
class HealthCheck final {
 public:
  explicit HealthCheck(CallQueue* owner)
      : owner_(owner), responder_(&context_) {}

  void Arm() {
    owner_->environment().health->RequestCheck(
        &context_, &request_, &responder_, owner_->queue(), owner_->queue(),
        &received_event_);
  }

 private:
  using Event = MemberEvent<HealthCheck>;

  void OnReceived(bool ok) {
    if (!ok) {
      delete this;
      return;
    }
    owner_->CallStarted();
    ArmHealthCheck(owner_);
    const absl::Status fits =
        CheckMetadata(owner_->environment(), ReadDetails(context_));
    if (!fits.ok()) {
      responder_.FinishWithError(ToGrpc(fits), &finished_event_);
      return;
    }
    HealthCheckResponse response;
    response.set_status(
        owner_->environment().health->StatusOf(request_.service()));
    if (response.status() == HealthCheckResponse::SERVICE_UNKNOWN) {
      responder_.FinishWithError(
          ToGrpc(absl::NotFoundError(absl::StrCat(
              "no service '", base::Printable(request_.service()), "'"))),
          &finished_event_);
    } else {
      responder_.Finish(response, grpc::Status::OK, &finished_event_);
    }
  }

  void OnFinished(bool /*ok*/) {
    owner_->CallEnded();
    delete this;
  }

  CallQueue* const owner_;
  Event received_event_{this, &HealthCheck::OnReceived};
  Event finished_event_{this, &HealthCheck::OnFinished};
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncResponseWriter<HealthCheckResponse> responder_;
};

// Writes the status whenever it is another than was written last, one message
// at a time, until the client goes or the server stops. Events come on the
// queue's thread, OnChange and Drain on any.
class HealthWatch final : public DrainableStream,
                          public HealthService::Watcher {
 public:
  explicit HealthWatch(CallQueue* owner) : owner_(owner), writer_(&context_) {
    context_.AsyncNotifyWhenDone(&done_event_);
  }

  void Arm() {
    owner_->environment().health->RequestWatch(&context_, &request_, &writer_,
                                               owner_->queue(), owner_->queue(),
                                               &received_event_);
  }

  void OnChange() override {
    absl::MutexLock lock(&mutex_);
    Step();
  }

  void Drain() override { End(); }

 private:
  using Event = MemberEvent<HealthWatch>;

  void End() {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    Step();
  }

  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finishing_) return;
    const HealthService::Status status =
        owner_->environment().health->StatusOf(request_.service());
    if (ending_) {
      finishing_ = true;
      writer_.Finish(ToGrpc(refusal_), &finished_event_);
    } else if (status != written_.status() || first_) {
      first_ = false;
      writing_ = true;
      written_.set_status(status);
      writer_.Write(written_, &written_event_);
    }
  }

  void OnReceived(bool ok) {
    if (!ok) {  // the server shuts down; no done event will come
      delete this;
      return;
    }
    ArmHealthWatch(owner_);
    owner_->StreamStarted(this);
    owner_->environment().health->Add(this);
    const absl::Status fits =
        CheckMetadata(owner_->environment(), ReadDetails(context_));
    absl::MutexLock lock(&mutex_);
    if (!fits.ok()) refusal_ = fits;
    ending_ = ending_ || !fits.ok() || owner_->environment().refusing.load();
    Step();
  }

  void OnWritten(bool ok) {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    ending_ = ending_ || !ok;
    Step();
  }

  void OnFinished(bool /*ok*/) {
    finished_ = true;
    DeleteWhenDone();
  }

  // Comes when the client goes, and after the finish too.
  void OnCallDone(bool /*ok*/) {
    done_ = true;
    End();
    DeleteWhenDone();
  }

  void DeleteWhenDone() {
    if (!finished_ || !done_) return;
    owner_->environment().health->Remove(this);
    owner_->StreamEnded(this);
    delete this;
  }

  CallQueue* const owner_;
  Event received_event_{this, &HealthWatch::OnReceived};
  Event written_event_{this, &HealthWatch::OnWritten};
  Event finished_event_{this, &HealthWatch::OnFinished};
  Event done_event_{this, &HealthWatch::OnCallDone};
  grpc::ServerContext context_;
  HealthCheckRequest request_;
  grpc::ServerAsyncWriter<HealthCheckResponse> writer_;
  bool finished_ = false;  // queue's thread
  bool done_ = false;      // queue's thread
  absl::Mutex mutex_;
  HealthCheckResponse written_ ABSL_GUARDED_BY(mutex_);
  bool first_ ABSL_GUARDED_BY(mutex_) = true;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_) = StoppingError();
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

void ArmHealthCheck(CallQueue* owner) {
  if (!owner->ending()) (new HealthCheck(owner))->Arm();
}
void ArmHealthWatch(CallQueue* owner) {
  if (!owner->ending()) (new HealthWatch(owner))->Arm();
}

}  // namespace fff::rpc

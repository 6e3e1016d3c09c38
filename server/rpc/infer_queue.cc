#include "server/rpc/infer_queue.h"

#include "server/rpc/infer_api.h"
#include "server/rpc/infer_call.h"

namespace fff::rpc {

struct InferQueue::Pools {
  explicit Pools(InferQueue* owner)
      : predict(owner), predict_dense(owner), model_infer(owner) {}
  CallPool<PredictApi> predict;
  CallPool<PredictDenseApi> predict_dense;
  CallPool<ModelInferApi> model_infer;
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
  thread_ = std::thread([this] { Loop(); });
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

void InferQueue::CallStarted() {
  absl::MutexLock lock(&mutex_);
  ++active_calls_;
  ++received_calls_;
}

InferQueue::Activity InferQueue::activity() {
  absl::MutexLock lock(&mutex_);
  return {received_calls_, active_calls_ == 0};
}

void InferQueue::CallEnded() {
  absl::MutexLock lock(&mutex_);
  --active_calls_;
}

void InferQueue::Loop() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) static_cast<CallEvent*>(tag)->OnEvent(ok);
}

}  // namespace fff::rpc

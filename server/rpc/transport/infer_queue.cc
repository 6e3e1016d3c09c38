#include "server/rpc/transport/infer_queue.h"

#include <utility>

#include "server/rpc/transport/health_calls.h"
#include "server/rpc/transport/infer_call.h"
#include "server/rpc/transport/infer_stream.h"

namespace fff::rpc {

struct InferQueue::Pools {
  explicit Pools(CallQueue* owner)
      : predict_tasks(owner->tasks_in_use()),
        infer_tasks(owner->tasks_in_use()),
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
                       std::unique_ptr<grpc::ServerCompletionQueue> queue,
                       ActiveQueues* queues, int rank)
    : CallQueue(environment, std::move(queue), queues, rank),
      pools_(std::make_unique<Pools>(this)) {}

InferQueue::~InferQueue() { Stop(); }

void InferQueue::Start(const std::string& thread_name) {
  if (&front() == this) {
    for (int i = 0; i < kArmedStreams; ++i) {
      for (int method = 0; method < kStreamMethods; ++method) {
        ArmStream(method);
      }
    }
    for (int i = 0; i < kArmedHealthCalls; ++i) {
      ArmHealthCheck(this);
      ArmHealthWatch(this);
    }
  }
  StartThread(thread_name);
}

void InferQueue::ArmCall(int method) {
  switch (method) {
    case PredictMethod::kIndex:
      pools_->predict.ArmOne();
      break;
    case PredictDenseMethod::kIndex:
      pools_->predict_dense.ArmOne();
      break;
    case ModelInferMethod::kIndex:
      pools_->model_infer.ArmOne();
      break;
  }
}

void InferQueue::ArmStream(int method) {
  if (ending()) return;
  auto& owner = static_cast<InferQueue&>(TakeStream(method));
  switch (method) {
    case PredictStreamMethod::kIndex:
      InferStream<PredictStreamMethod>::ArmOne(&owner,
                                               &owner.pools_->predict_tasks);
      break;
    case ModelStreamInferMethod::kIndex:
      InferStream<ModelStreamInferMethod>::ArmOne(&owner,
                                                  &owner.pools_->infer_tasks);
      break;
  }
}

}  // namespace fff::rpc

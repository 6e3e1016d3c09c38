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
                       std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : CallQueue(environment, std::move(queue)),
      pools_(std::make_unique<Pools>(this)) {}

InferQueue::~InferQueue() { Stop(); }

void InferQueue::Start(const std::string& thread_name) {
  for (int i = 0; i < kArmedCalls; ++i) {
    pools_->predict.ArmOne();
    pools_->predict_dense.ArmOne();
    pools_->model_infer.ArmOne();
  }
  for (int i = 0; i < kArmedStreams; ++i) {
    InferStream<PredictStreamMethod>::ArmOne(this, &pools_->predict_tasks);
    InferStream<ModelStreamInferMethod>::ArmOne(this, &pools_->infer_tasks);
    ArmHealthCheck(this);
    ArmHealthWatch(this);
  }
  StartThread(thread_name);
}

}  // namespace fff::rpc

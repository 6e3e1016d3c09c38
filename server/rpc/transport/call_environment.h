#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "fff/v1/inference.grpc.pb.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/metrics/server_metrics.h"
#include "server/rpc/observe/access_log.h"
#include "server/rpc/observe/call_details.h"
#include "server/rpc/tracing/tracing.h"
#include "server/rpc/transport/health_service.h"
#include "server/serving/batching/memory_budget.h"
#include "server/serving/batching/scheduler.h"
#include "server/serving/batching/task.h"
#include "server/serving/repository/model_registry.h"

namespace fff::rpc {

// The inference methods are asynchronous and raw: their messages are parsed and
// written here, where it can be timed and bounded. The others are synchronous.
using AsyncInferenceBase = v1::InferenceService::WithRawMethod_Predict<
    v1::InferenceService::WithRawMethod_PredictDense<
        v1::InferenceService::WithRawMethod_PredictStream<
            v1::InferenceService::Service>>>;
using AsyncOpenInferenceBase =
    inference::GRPCInferenceService::WithRawMethod_ModelInfer<
        inference::GRPCInferenceService::WithRawMethod_ModelStreamInfer<
            inference::GRPCInferenceService::Service>>;

// What every call needs; owned by the server, outlives all calls.
struct CallEnvironment {
  serving::ModelRegistry* registry = nullptr;
  serving::Scheduler* scheduler = nullptr;
  metrics::ServerMetrics* metrics = nullptr;
  AsyncInferenceBase* inference = nullptr;
  AsyncOpenInferenceBase* open_inference = nullptr;
  HealthService* health = nullptr;
  serving::MemoryBudget* memory = nullptr;
  AccessLog* access_log = nullptr;  // null = requests are not logged
  Tracing* tracing = nullptr;       // null = requests become no spans
  // How long an answer may wait for its client while memory is short; 0 = for
  // ever (unread_answers.h).
  serving::Clock::duration unread_timeout{0};
  // Requests refused for want of room get UNAVAILABLE, not RESOURCE_EXHAUSTED.
  bool overload_is_unavailable = false;
  // Rows with NaN or infinity are refused by models that do not say otherwise.
  bool refuse_non_finite = false;
  // Of a call's metadata (CheckMetadata).
  int64_t metadata_bytes_max = int64_t{64} << 10;
  // Set before the server ends: new requests are answered UNAVAILABLE.
  std::atomic<bool> refusing{false};
};

// What a request is answered with once `refusing` is set, and how a stream
// ends.
absl::Status StoppingError();
// RESOURCE_EXHAUSTED, never to be tried again, for a call whose metadata are
// larger than the environment wants; counted.
absl::Status CheckMetadata(const CallEnvironment& environment,
                           const CallDetails& details);
// What is answered instead of `refusal`: itself, or the same as UNAVAILABLE
// when it says RESOURCE_EXHAUSTED, the environment wants that, and another try
// may pass.
absl::Status RefusalAnswer(const CallEnvironment& environment,
                           const absl::Status& refusal);
// What a request of `bytes` is answered with that does not fit into `memory`.
absl::Status MemoryError(const serving::MemoryBudget& memory, int64_t bytes);

}  // namespace fff::rpc

#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "fff/v1/inference.grpc.pb.h"
#include "server/metrics/server_metrics.h"
#include "server/rpc/access/admin_access.h"
#include "server/rpc/messages/benchmark_messages.h"
#include "server/rpc/transport/call_environment.h"
#include "server/serving/repository/model_repository.h"

namespace fff::rpc {

// Our own API's calls other than Predict, PredictDense and PredictStream, which
// run on completion queues (infer_queue.h). Thread-safe.
class InferenceService final : public AsyncInferenceBase {
 public:
  // The pointers outlive the service.
  InferenceService(serving::ModelRepository* repository,
                   metrics::ServerMetrics* metrics, const AdminAccess* admin,
                   bool benchmark_enabled)
      : repository_(repository),
        registry_(repository->registry()),
        metrics_(metrics),
        admin_(admin),
        benchmark_enabled_(benchmark_enabled) {}

  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* response) override;
  grpc::Status GetModel(grpc::ServerContext*,
                        const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  // Both run on the caller's thread of gRPC and need admin access.
  grpc::Status LoadModel(grpc::ServerContext* context,
                         const v1::LoadModelRequest* request,
                         v1::LoadModelResponse* response) override;
  grpc::Status UnloadModel(grpc::ServerContext* context,
                           const v1::UnloadModelRequest* request,
                           v1::UnloadModelResponse* response) override;
  // Needs admin access. Runs on the caller's thread of gRPC, beside the traffic
  // that is served.
  grpc::Status Benchmark(
      grpc::ServerContext* context, const v1::BenchmarkRequest* request,
      grpc::ServerWriter<v1::BenchmarkResponse>* writer) override;

  // Makes a running benchmark end at its next step, with UNAVAILABLE.
  void StopBenchmark() { stopping_.store(true); }

 private:
  // Those whose FFF is measured beside `fff`.
  absl::StatusOr<std::vector<benchmark::Opponent>> OtherVersions(
      const v1::BenchmarkRequest& request, const serving::Servable& fff) const;
  absl::Status RunBenchmark(grpc::ServerContext& context,
                            const v1::BenchmarkRequest& request,
                            grpc::ServerWriter<v1::BenchmarkResponse>& writer);

  serving::ModelRepository* const repository_;
  serving::ModelRegistry* const registry_;
  metrics::ServerMetrics* const metrics_;
  const AdminAccess* const admin_;
  const bool benchmark_enabled_;
  std::atomic<bool> stopping_{false};
  std::mutex benchmark_mutex_;  // held while one runs
};

}  // namespace fff::rpc

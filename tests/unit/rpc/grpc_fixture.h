#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "fff/v1/inference.grpc.pb.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/metrics/server_metrics.h"
#include "server/rpc/service/grpc_server.h"
#include "server/serving/batching/scheduler.h"
#include "server/serving/repository/model_repository.h"
#include "tests/unit/serving/temp_repository.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::rpc {

// Keeps one worker of a scheduler busy, so that what is submitted later waits.
// The worker is free again when this object is gone.
class BusyWorker {
 public:
  explicit BusyWorker(serving::Scheduler* scheduler);
  ~BusyWorker();
  void Open() { gate_.Open(); }

 private:
  serving::Gate gate_;
  std::shared_ptr<const serving::Servable> servable_;
  serving::TestTask task_;
};

// A server on a free port of this machine, over a repository of two models:
// "leaf" (784 to 10, depth 4, labelled) and "path" (96 to 96, three trees). One
// worker, one completion queue.
class GrpcServerTest : public ::testing::Test {
 public:
  GrpcServerTest();
  ~GrpcServerTest() override;

 protected:
  static constexpr int64_t kLeafIn = 784;
  static constexpr int64_t kLeafOut = 10;
  static constexpr int64_t kPathIn = 96;

  // Loads the repository, starts the server and connects to it.
  void StartServer(const GrpcServerOptions& options = LocalOptions());
  static GrpcServerOptions LocalOptions();
  std::shared_ptr<grpc::Channel> Connect() const;

  // Rows of numbers that differ from each other, as every test of `seed` knows
  // them.
  static std::vector<float> Rows(int64_t rows, int64_t width, int seed = 1);
  static std::string Bytes(const std::vector<float>& values);
  static std::vector<float> Floats(const std::string& bytes);

  static v1::PredictRequest PredictRequest(const std::string& model,
                                           const std::vector<float>& rows,
                                           int64_t width);
  static inference::ModelInferRequest InferRequest(
      const std::string& model, const std::vector<float>& rows, int64_t width);

  std::shared_ptr<const serving::Servable> Servable(
      const std::string& name) const;
  // What the model gives when nothing of rpc or serving is in between.
  std::vector<float> Direct(const std::string& name,
                            const std::vector<float>& rows) const;

  static serving::RepositoryOptions RepositoryOf(const std::string& path);

  // Waits until `rows` rows stand in the queue of `name`.
  void AwaitQueuedRows(const std::string& name, int64_t rows) const;

  // A unary call of any method with bytes for messages.
  grpc::Status CallBytes(const std::string& method, const std::string& request,
                         std::string& response) const;
  // "SERVING", "NOT_SERVING" or the code of the error.
  std::string Health(const std::string& service) const;

  serving::TempRepository repository_;
  metrics::ServerMetrics metrics_{"test"};
  serving::ModelRegistry registry_{&metrics_};
  serving::ModelRepository models_{RepositoryOf(repository_.path()), &registry_,
                                   &metrics_};
  serving::Scheduler scheduler_{1};
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::InferenceService::Stub> stub_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> open_stub_;
};

}  // namespace fff::rpc

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/prediction.h"
#include "fff/v1/inference.pb.h"

namespace fff::client {

struct ConnectOptions {
  // Deadline of every call that is not given one of its own.
  absl::Duration timeout = absl::Seconds(30);
  // Encrypts when true; the server's certificate is checked against `ca_pem`,
  // or the system's authorities when that is empty.
  bool tls = false;
  std::string ca_pem;
  // The client's own certificate and key for servers that ask for one.
  std::string certificate_pem;
  std::string key_pem;
  // Shown with LoadModel, UnloadModel and Benchmark; "" = none. Without TLS
  // whoever sees the connection sees it.
  std::string admin_token;
};

class PredictionStream;

// What the standard health service (grpc.health.v1) answers.
enum class Health { kUnknown = 0, kServing = 1, kNotServing = 2 };
const char* Name(Health health);

// Told as the benchmark goes on; false cancels it.
using BenchmarkProgressCallback =
    std::function<bool(const v1::BenchmarkProgress&)>;

// A connection to one server. Thread-safe; every call blocks until its answer,
// its deadline, or the failure of the connection. Errors are the server's own
// code and message (see fff/v1/inference.proto), UNAVAILABLE when no server
// answers, DEADLINE_EXCEEDED, or INTERNAL for an answer that contradicts
// itself (a shape that does not fit its bytes).
class Client {
 public:
  // `target` is HOST:PORT, unix:PATH, or any gRPC name. Does not wait for the
  // server: a server that is not there shows at the first call.
  // INVALID_ARGUMENT for an empty target or half a client certificate.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(
      const std::string& target, const ConnectOptions& options = {});

  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  absl::StatusOr<Prediction> Predict(const std::string& model, Rows input,
                                     const PredictOptions& options = {}) const;
  // Of several inputs, or of others than float32. INVALID_ARGUMENT before the
  // call for inputs that contradict themselves or each other (tensors.h); the
  // model's own names, types and shapes are the server's to check.
  absl::StatusOr<Prediction> Predict(const std::string& model,
                                     absl::Span<const NamedInput> inputs,
                                     const PredictOptions& options = {}) const;
  // Many predictions in flight (prediction_stream.h). `timeout` bounds the
  // whole stream; zero: none. A server that does not answer shows at the first
  // Receive.
  std::unique_ptr<PredictionStream> OpenStream(
      absl::Duration timeout = absl::ZeroDuration()) const;
  absl::StatusOr<v1::ListModelsResponse> ListModels() const;
  absl::StatusOr<v1::GetModelResponse> GetModel(const std::string& model,
                                                int64_t version = 0) const;
  // Both return when the server has done it; see fff/v1/inference.proto.
  absl::StatusOr<v1::LoadModelResponse> LoadModel(const std::string& model,
                                                  int64_t version = 0) const;
  absl::StatusOr<v1::UnloadModelResponse> UnloadModel(
      const std::string& model, int64_t version = 0) const;
  // `timeout` bounds the whole run; zero leaves it to the server, which bounds
  // the time of every case.
  absl::StatusOr<v1::BenchmarkReport> Benchmark(
      const v1::BenchmarkRequest& request,
      const BenchmarkProgressCallback& progress,
      absl::Duration timeout = absl::ZeroDuration()) const;

  // Of the whole server when `service` is empty. NOT_FOUND for a service that
  // the server does not know.
  absl::StatusOr<Health> CheckHealth(const std::string& service = "") const;
  // The Open Inference Protocol's ServerLive and ServerReady.
  absl::StatusOr<bool> ServerLive() const;
  absl::StatusOr<bool> ServerReady() const;
  struct ServerInfo {
    std::string name;
    std::string version;
  };
  absl::StatusOr<ServerInfo> ServerMetadata() const;

 private:
  class Stubs;
  absl::StatusOr<Prediction> PredictRows(const v1::PredictRequest& request,
                                         int64_t rows,
                                         const PredictOptions& options) const;
  Client(std::unique_ptr<Stubs> stubs, absl::Duration timeout,
         std::string admin_token);

  std::unique_ptr<Stubs> stubs_;
  absl::Duration timeout_;
  std::string admin_token_;
};

}  // namespace fff::client

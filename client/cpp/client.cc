#include "client/cpp/client.h"

#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/prediction_stream.h"
#include "client/cpp/prediction_stream_call.h"
#include "client/cpp/status_from_grpc.h"
#include "client/cpp/tensors.h"
#include "fff/v1/inference.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/base/status_macros.h"

namespace fff::client {
namespace {

void SetDeadline(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout <= absl::ZeroDuration() || timeout == absl::InfiniteDuration()) {
    return;
  }
  context.set_deadline(std::chrono::system_clock::now() +
                       absl::ToChronoMicroseconds(timeout));
}

void AddToken(grpc::ClientContext& context, const std::string& token) {
  if (token.empty()) return;
  context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
}

template <class Stub, class Request, class Response>
using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&,
                                      Response*);

// One unary call. `token` is shown when there is one.
template <class Stub, class Request, class Response>
absl::StatusOr<Response> Ask(Stub& stub, Method<Stub, Request, Response> method,
                             const Request& request, absl::Duration timeout,
                             const std::string& token = "") {
  grpc::ClientContext context;
  SetDeadline(context, timeout);
  AddToken(context, token);
  Response response;
  FFF_RETURN_IF_ERROR(FromGrpc((stub.*method)(&context, request, &response)));
  return response;
}

template <class Request>
Request Naming(const std::string& model, int64_t version) {
  Request request;
  request.set_model(model);
  request.set_version(version);
  return request;
}

std::shared_ptr<grpc::ChannelCredentials> Credentials(
    const ConnectOptions& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.ca_pem;
  ssl.pem_cert_chain = options.certificate_pem;
  ssl.pem_private_key = options.key_pem;
  return grpc::SslCredentials(ssl);
}

}  // namespace

class Client::Stubs {
 public:
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : fff(v1::InferenceService::NewStub(channel)),
        open_inference(inference::GRPCInferenceService::NewStub(channel)),
        health(grpc::health::v1::Health::NewStub(channel)) {}

  std::unique_ptr<v1::InferenceService::Stub> fff;
  std::unique_ptr<inference::GRPCInferenceService::Stub> open_inference;
  std::unique_ptr<grpc::health::v1::Health::Stub> health;
};

const char* Name(Health health) {
  switch (health) {
    case Health::kServing:
      return "SERVING";
    case Health::kNotServing:
      return "NOT_SERVING";
    default:
      return "UNKNOWN";
  }
}

Client::Client(std::unique_ptr<Stubs> stubs, absl::Duration timeout,
               std::string admin_token)
    : stubs_(std::move(stubs)),
      timeout_(timeout),
      admin_token_(std::move(admin_token)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(
    const std::string& target, const ConnectOptions& options) {
  if (target.empty()) {
    return absl::InvalidArgumentError(
        "the server's address is empty, wanted HOST:PORT");
  }
  if (options.certificate_pem.empty() != options.key_pem.empty()) {
    return absl::InvalidArgumentError(
        "a client certificate needs its key and the other way round, got one");
  }
  grpc::ChannelArguments arguments;
  // Large batches are the caller's choice; the server bounds what it accepts.
  arguments.SetMaxReceiveMessageSize(std::numeric_limits<int>::max());
  arguments.SetMaxSendMessageSize(std::numeric_limits<int>::max());
  auto stubs = std::make_unique<Stubs>(
      grpc::CreateCustomChannel(target, Credentials(options), arguments));
  return std::unique_ptr<Client>(
      new Client(std::move(stubs), options.timeout, options.admin_token));
}

absl::StatusOr<Prediction> Client::Predict(
    const std::string& model, Rows input, const PredictOptions& options) const {
  return PredictRows(EncodeRequest(model, input, options), input.rows, options);
}

absl::StatusOr<Prediction> Client::Predict(
    const std::string& model, absl::Span<const NamedInput> inputs,
    const PredictOptions& options) const {
  FFF_ASSIGN_OR_RETURN(const v1::PredictRequest request,
                       EncodeRequest(model, inputs, options));
  return PredictRows(request, inputs[0].shape[0], options);
}

absl::StatusOr<Prediction> Client::PredictRows(
    const v1::PredictRequest& request, int64_t rows,
    const PredictOptions& options) const {
  using Stub = v1::InferenceService::Stub;
  FFF_ASSIGN_OR_RETURN(
      v1::PredictResponse response,
      Ask(*stubs_->fff, options.dense ? &Stub::PredictDense : &Stub::Predict,
          request,
          options.timeout > absl::ZeroDuration() ? options.timeout : timeout_));
  return DecodePrediction(std::move(response), rows);
}

std::unique_ptr<PredictionStream> Client::OpenStream(
    absl::Duration timeout) const {
  auto call = std::make_unique<PredictionStreamCall>();
  SetDeadline(call->context, timeout);
  call->stream = stubs_->fff->PredictStream(&call->context);
  return std::unique_ptr<PredictionStream>(
      new PredictionStream(std::move(call)));
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels() const {
  return Ask(*stubs_->fff, &v1::InferenceService::Stub::ListModels,
             v1::ListModelsRequest(), timeout_);
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel(const std::string& model,
                                                      int64_t version) const {
  return Ask(*stubs_->fff, &v1::InferenceService::Stub::GetModel,
             Naming<v1::GetModelRequest>(model, version), timeout_);
}

absl::StatusOr<v1::LoadModelResponse> Client::LoadModel(
    const std::string& model, int64_t version) const {
  return Ask(*stubs_->fff, &v1::InferenceService::Stub::LoadModel,
             Naming<v1::LoadModelRequest>(model, version), timeout_,
             admin_token_);
}

absl::StatusOr<v1::UnloadModelResponse> Client::UnloadModel(
    const std::string& model, int64_t version) const {
  return Ask(*stubs_->fff, &v1::InferenceService::Stub::UnloadModel,
             Naming<v1::UnloadModelRequest>(model, version), timeout_,
             admin_token_);
}

absl::StatusOr<v1::BenchmarkReport> Client::Benchmark(
    const v1::BenchmarkRequest& request,
    const BenchmarkProgressCallback& progress, absl::Duration timeout) const {
  grpc::ClientContext context;
  SetDeadline(context, timeout);
  AddToken(context, admin_token_);
  const auto reader = stubs_->fff->Benchmark(&context, request);
  v1::BenchmarkReport report;
  bool reported = false;
  bool cancelled = false;
  for (v1::BenchmarkResponse response; reader->Read(&response);) {
    if (response.has_report()) {
      report = std::move(*response.mutable_report());
      reported = true;
    } else if (!cancelled && progress != nullptr &&
               !progress(response.progress())) {
      context.TryCancel();
      cancelled = true;
    }
  }
  const absl::Status status = FromGrpc(reader->Finish());
  if (cancelled) return absl::CancelledError("the benchmark was cancelled");
  FFF_RETURN_IF_ERROR(status);
  if (!reported) {
    return absl::InternalError("the benchmark ended without a report");
  }
  return report;
}

absl::StatusOr<Health> Client::CheckHealth(const std::string& service) const {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  FFF_ASSIGN_OR_RETURN(
      const auto response,
      Ask(*stubs_->health, &grpc::health::v1::Health::Stub::Check, request,
          timeout_));
  switch (response.status()) {
    case grpc::health::v1::HealthCheckResponse::SERVING:
      return Health::kServing;
    case grpc::health::v1::HealthCheckResponse::NOT_SERVING:
      return Health::kNotServing;
    default:
      return Health::kUnknown;
  }
}

absl::StatusOr<bool> Client::ServerLive() const {
  FFF_ASSIGN_OR_RETURN(const auto response,
                       Ask(*stubs_->open_inference,
                           &inference::GRPCInferenceService::Stub::ServerLive,
                           inference::ServerLiveRequest(), timeout_));
  return response.live();
}

absl::StatusOr<bool> Client::ServerReady() const {
  FFF_ASSIGN_OR_RETURN(const auto response,
                       Ask(*stubs_->open_inference,
                           &inference::GRPCInferenceService::Stub::ServerReady,
                           inference::ServerReadyRequest(), timeout_));
  return response.ready();
}

absl::StatusOr<Client::ServerInfo> Client::ServerMetadata() const {
  FFF_ASSIGN_OR_RETURN(
      const auto response,
      Ask(*stubs_->open_inference,
          &inference::GRPCInferenceService::Stub::ServerMetadata,
          inference::ServerMetadataRequest(), timeout_));
  return ServerInfo{response.name(), response.version()};
}

}  // namespace fff::client

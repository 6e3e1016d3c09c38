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
  const v1::PredictRequest request = EncodeRequest(model, input, options);
  grpc::ClientContext context;
  SetDeadline(context, options.timeout > absl::ZeroDuration() ? options.timeout
                                                              : timeout_);
  v1::PredictResponse response;
  const grpc::Status status =
      options.dense ? stubs_->fff->PredictDense(&context, request, &response)
                    : stubs_->fff->Predict(&context, request, &response);
  FFF_RETURN_IF_ERROR(FromGrpc(status));
  return DecodePrediction(std::move(response), input.rows);
}

std::unique_ptr<PredictionStream> Client::OpenStream(
    absl::Duration timeout) const {
  auto call = std::make_unique<PredictionStream::Call>();
  SetDeadline(call->context, timeout);
  call->stream = stubs_->fff->PredictStream(&call->context);
  return std::unique_ptr<PredictionStream>(
      new PredictionStream(std::move(call)));
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels() const {
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  v1::ListModelsResponse response;
  FFF_RETURN_IF_ERROR(
      FromGrpc(stubs_->fff->ListModels(&context, {}, &response)));
  return response;
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel(const std::string& model,
                                                      int64_t version) const {
  v1::GetModelRequest request;
  request.set_model(model);
  request.set_version(version);
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  v1::GetModelResponse response;
  FFF_RETURN_IF_ERROR(
      FromGrpc(stubs_->fff->GetModel(&context, request, &response)));
  return response;
}

absl::StatusOr<v1::LoadModelResponse> Client::LoadModel(
    const std::string& model, int64_t version) const {
  v1::LoadModelRequest request;
  request.set_model(model);
  request.set_version(version);
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  AddToken(context, admin_token_);
  v1::LoadModelResponse response;
  FFF_RETURN_IF_ERROR(
      FromGrpc(stubs_->fff->LoadModel(&context, request, &response)));
  return response;
}

absl::StatusOr<v1::UnloadModelResponse> Client::UnloadModel(
    const std::string& model, int64_t version) const {
  v1::UnloadModelRequest request;
  request.set_model(model);
  request.set_version(version);
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  AddToken(context, admin_token_);
  v1::UnloadModelResponse response;
  FFF_RETURN_IF_ERROR(
      FromGrpc(stubs_->fff->UnloadModel(&context, request, &response)));
  return response;
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
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  FFF_RETURN_IF_ERROR(
      FromGrpc(stubs_->health->Check(&context, request, &response)));
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
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  inference::ServerLiveResponse response;
  FFF_RETURN_IF_ERROR(
      FromGrpc(stubs_->open_inference->ServerLive(&context, {}, &response)));
  return response.live();
}

absl::StatusOr<bool> Client::ServerReady() const {
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  inference::ServerReadyResponse response;
  FFF_RETURN_IF_ERROR(
      FromGrpc(stubs_->open_inference->ServerReady(&context, {}, &response)));
  return response.ready();
}

absl::StatusOr<Client::ServerInfo> Client::ServerMetadata() const {
  grpc::ClientContext context;
  SetDeadline(context, timeout_);
  inference::ServerMetadataResponse response;
  FFF_RETURN_IF_ERROR(FromGrpc(
      stubs_->open_inference->ServerMetadata(&context, {}, &response)));
  return ServerInfo{response.name(), response.version()};
}

}  // namespace fff::client

#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/status_macros.h"
#include "server/rpc/messages/bad_field.h"
#include "server/rpc/messages/decode.h"
#include "server/rpc/messages/encode.h"
#include "server/rpc/messages/message_reuse.h"
#include "server/rpc/messages/request_options.h"
#include "server/rpc/messages/status_mapping.h"
#include "server/rpc/transport/call_environment.h"

// What tells the two APIs apart, one struct an API: its messages, which
// servable a request means, how its input and options are read, how an answer
// is filled in.
namespace fff::rpc {

// What a request asks for beside its input.
struct RequestOptions {
  std::chrono::microseconds timeout{0};  // 0 = none
  serving::Priority priority = serving::Priority::kNormal;
  bool routing = false;
  TopK top;
  WantedOutputs outputs;
};

struct PredictApi {
  using Request = v1::PredictRequest;
  using Response = v1::PredictResponse;
  using StreamResponse = v1::PredictStreamResponse;
  static constexpr absl::string_view kService =
      v1::InferenceService::service_full_name();
  static constexpr absl::string_view kRequestName = "fff.v1.PredictRequest";
  static constexpr int kIdField = Request::kRequestIdFieldNumber;

  static absl::StatusOr<std::shared_ptr<const serving::Servable>> Find(
      const CallEnvironment& environment, const Request& request, bool dense) {
    if (request.version() < 0) {
      return InField("version", absl::InvalidArgumentError(absl::StrCat(
                                    "got version ", request.version(),
                                    ", wanted 0 (the default) or above")));
    }
    if (dense && !absl::EndsWith(request.model(), serving::kDenseSuffix)) {
      return environment.registry->Find(
          absl::StrCat(request.model(), serving::kDenseSuffix),
          request.version());
    }
    return environment.registry->Find(request.model(), request.version());
  }
  static absl::StatusOr<DecodedInputs> Decode(const Request& request,
                                              const model::Model& /*model*/,
                                              const InputSpec& spec,
                                              InputScratch& scratch) {
    return DecodePredictInput(request, spec, scratch);
  }
  static absl::StatusOr<RequestOptions> Options(const Request& request,
                                                const model::Model& model) {
    FFF_ASSIGN_OR_RETURN(const std::chrono::microseconds timeout,
                         DecodeTimeout(request));
    const OutputSpec spec = model.graph();
    FFF_ASSIGN_OR_RETURN(WantedOutputs outputs,
                         InField("outputs", DecodeOutputs(request, spec)));
    FFF_ASSIGN_OR_RETURN(const TopK top, DecodeTopK(request, spec));
    FFF_RETURN_IF_ERROR(CheckTopKWanted(top, outputs, spec));
    return RequestOptions{timeout, PriorityOf(request.priority()),
                          request.include_routing(), top, std::move(outputs)};
  }
  static void Finish(const Request& request, const serving::Servable& servable,
                     const serving::Task& task, const TopK& /*top*/,
                     const model::Routes& routing, Response& response) {
    FinishResponse(request, servable, task,
                   request.include_routing() ? &routing : nullptr, response);
  }
  // Makes `answer` a stream's: its response is filled in when `status` is OK.
  static void Address(const Request& request, const absl::Status& status,
                      StreamResponse& answer) {
    answer.set_request_id(request.request_id());
    if (!status.ok()) EncodeError(status, *answer.mutable_error());
  }
  // Ready for another request; the response keeps its buffers.
  static void ClearAnswer(StreamResponse& answer) {
    ClearKeepingBuffers(*answer.mutable_response());
  }
  static Response& ResponseIn(StreamResponse& answer) {
    return *answer.mutable_response();
  }
  static const std::string& ModelName(const Request& request) {
    return request.model();
  }
  static const std::string& Id(const Request& request) {
    return request.request_id();
  }
  static void SetId(std::string id, Request& request) {
    request.set_request_id(std::move(id));
  }
};

struct ModelInferApi {
  using Request = inference::ModelInferRequest;
  using Response = inference::ModelInferResponse;
  using StreamResponse = inference::ModelStreamInferResponse;
  static constexpr absl::string_view kService =
      inference::GRPCInferenceService::service_full_name();
  static constexpr absl::string_view kRequestName =
      "inference.ModelInferRequest";
  static constexpr int kIdField = Request::kIdFieldNumber;

  static absl::StatusOr<std::shared_ptr<const serving::Servable>> Find(
      const CallEnvironment& environment, const Request& request,
      bool /*dense*/) {
    FFF_ASSIGN_OR_RETURN(const int64_t version,
                         DecodeVersion(request.model_version()));
    return environment.registry->Find(request.model_name(), version);
  }
  static absl::StatusOr<DecodedInputs> Decode(const Request& request,
                                              const model::Model& model,
                                              const InputSpec& spec,
                                              InputScratch& scratch) {
    return DecodeInferInput(request, spec, model.graph(), scratch);
  }
  static absl::StatusOr<RequestOptions> Options(const Request& request,
                                                const model::Model& model) {
    FFF_ASSIGN_OR_RETURN(const std::chrono::microseconds timeout,
                         DecodeTimeout(request));
    FFF_ASSIGN_OR_RETURN(const serving::Priority priority,
                         DecodePriority(request));
    const OutputSpec spec = model.graph();
    FFF_ASSIGN_OR_RETURN(WantedOutputs outputs,
                         InField("outputs", DecodeOutputs(request, spec)));
    FFF_ASSIGN_OR_RETURN(const TopK top, DecodeTopK(request, spec));
    FFF_RETURN_IF_ERROR(CheckTopKWanted(top, outputs, spec));
    return RequestOptions{timeout, priority, false, top, std::move(outputs)};
  }
  static void Finish(const Request& request, const serving::Servable& servable,
                     const serving::Task& task, const TopK& top,
                     const model::Routes& /*none*/, Response& response) {
    FinishResponse(request, servable, task, top, response);
  }
  static void Address(const Request& request, const absl::Status& status,
                      StreamResponse& answer) {
    answer.clear_error_message();
    if (status.ok()) return;
    answer.mutable_infer_response()->Clear();
    answer.mutable_infer_response()->set_id(request.id());
    answer.set_error_message(ToGrpc(status).error_message());
  }
  static void ClearAnswer(StreamResponse& answer) {
    ClearKeepingBuffers(*answer.mutable_infer_response());
  }
  static Response& ResponseIn(StreamResponse& answer) {
    return *answer.mutable_infer_response();
  }
  static const std::string& ModelName(const Request& request) {
    return request.model_name();
  }
  static const std::string& Id(const Request& request) { return request.id(); }
  static void SetId(std::string id, Request& request) {
    request.set_id(std::move(id));
  }
};

}  // namespace fff::rpc

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/status_macros.h"
#include "server/metrics/model_metrics.h"
#include "server/rpc/decode.h"
#include "server/rpc/infer_queue.h"

// What tells the inference methods apart, one struct a method: its messages,
// how a call of it is armed, which servable it means, how its input is read.
namespace fff::rpc {

inline absl::StatusOr<std::shared_ptr<const serving::Servable>> FindByName(
    const CallEnvironment& environment, absl::string_view name,
    int64_t version) {
  if (version < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got version ", version, ", wanted 0 (the default) or above"));
  }
  return environment.registry->Find(name, version);
}

struct PredictApi {
  using Request = v1::PredictRequest;
  using Response = v1::PredictResponse;
  static constexpr metrics::Method kMethod = metrics::Method::kPredict;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.inference->RequestPredict(args...);
  }
  static absl::StatusOr<std::shared_ptr<const serving::Servable>> Find(
      const CallEnvironment& environment, const Request& request) {
    return FindByName(environment, request.model(), request.version());
  }
  static absl::StatusOr<tensor::ConstRows> Decode(
      const Request& request, const model::Model& model,
      tensor::FloatBuffer& scratch) {
    return DecodePredictInput(request, model.input(), scratch);
  }
};

struct PredictDenseApi : PredictApi {
  static constexpr metrics::Method kMethod = metrics::Method::kPredictDense;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.inference->RequestPredictDense(args...);
  }
  static absl::StatusOr<std::shared_ptr<const serving::Servable>> Find(
      const CallEnvironment& environment, const Request& request) {
    const bool has_suffix =
        absl::EndsWith(request.model(), serving::kDenseSuffix);
    return FindByName(
        environment,
        absl::StrCat(request.model(), has_suffix ? "" : serving::kDenseSuffix),
        request.version());
  }
};

struct ModelInferApi {
  using Request = inference::ModelInferRequest;
  using Response = inference::ModelInferResponse;
  static constexpr metrics::Method kMethod = metrics::Method::kModelInfer;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.open_inference->RequestModelInfer(args...);
  }
  static absl::StatusOr<std::shared_ptr<const serving::Servable>> Find(
      const CallEnvironment& environment, const Request& request) {
    FFF_ASSIGN_OR_RETURN(const int64_t version,
                         DecodeVersion(request.model_version()));
    return environment.registry->Find(request.model_name(), version);
  }
  static absl::StatusOr<tensor::ConstRows> Decode(
      const Request& request, const model::Model& model,
      tensor::FloatBuffer& scratch) {
    return DecodeInferInput(request, model.input(), model.output(), scratch);
  }
};

}  // namespace fff::rpc

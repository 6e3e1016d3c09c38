#pragma once

#include "server/rpc/transport/infer_api.h"

// One struct per inference method: its API, its metric label, and how gRPC is
// asked for a call of it. Unary methods run in infer_call.h, streams in
// infer_stream.h. kIndex counts the unary ones and the streams by themselves.
namespace fff::rpc {

struct PredictMethod {
  using Api = PredictApi;
  static constexpr metrics::Method kMethod = metrics::Method::kPredict;
  static constexpr int kIndex = 0;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.inference->RequestPredict(args...);
  }
};

struct PredictDenseMethod {
  using Api = PredictApi;
  static constexpr metrics::Method kMethod = metrics::Method::kPredictDense;
  static constexpr int kIndex = 1;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.inference->RequestPredictDense(args...);
  }
};

struct ModelInferMethod {
  using Api = ModelInferApi;
  static constexpr metrics::Method kMethod = metrics::Method::kModelInfer;
  static constexpr int kIndex = 2;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.open_inference->RequestModelInfer(args...);
  }
};

struct PredictStreamMethod {
  using Api = PredictApi;
  static constexpr metrics::Method kMethod = metrics::Method::kPredictStream;
  static constexpr int kIndex = 0;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.inference->RequestPredictStream(args...);
  }
};

struct ModelStreamInferMethod {
  using Api = ModelInferApi;
  static constexpr metrics::Method kMethod = metrics::Method::kModelStreamInfer;
  static constexpr int kIndex = 1;
  template <class... Args>
  static void Arm(const CallEnvironment& environment, Args... args) {
    environment.open_inference->RequestModelStreamInfer(args...);
  }
};

}  // namespace fff::rpc

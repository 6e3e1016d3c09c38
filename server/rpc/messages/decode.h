#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fff/v1/inference.pb.h"
#include "inference/grpc_service.pb.h"
#include "server/graph/graph.h"
#include "server/rpc/messages/answer_shape.h"
#include "server/rpc/messages/input_decoder.h"
#include "server/serving/batching/task.h"

// Requests to matrices: pure functions over bytes that a peer wrote. Every
// error is INVALID_ARGUMENT and says what was wrong, got and wanted; the caller
// adds the model's name.
namespace fff::rpc {

// The inputs of a Predict call: [rows, <input shape>], or <input shape> alone
// for one row. The matrices point into `request` where its bytes are what
// kernels read, else into `scratch`. Integers are within their port's limit;
// floats are finite where the spec refuses others.
absl::StatusOr<DecodedInputs> DecodePredictInput(
    const v1::PredictRequest& request, const InputSpec& spec,
    InputScratch& scratch);

using NamedTensors = google::protobuf::RepeatedPtrField<v1::NamedTensor>;

// The same of inputs by name alone.
absl::StatusOr<DecodedInputs> DecodeNamedInputs(const NamedTensors& inputs,
                                                const InputSpec& spec,
                                                InputScratch& scratch);

// The inputs of a ModelInfer call, raw or typed (not both), and a check that
// the outputs asked for exist. Same promises as DecodePredictInput.
absl::StatusOr<DecodedInputs> DecodeInferInput(
    const inference::ModelInferRequest& request, const InputSpec& spec,
    const OutputSpec& output_spec, InputScratch& scratch);

// "" = 0, the default version; otherwise a positive decimal number.
absl::StatusOr<int64_t> DecodeVersion(const std::string& version);

}  // namespace fff::rpc

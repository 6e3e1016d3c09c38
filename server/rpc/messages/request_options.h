#pragma once

#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fff/v1/inference.pb.h"
#include "inference/grpc_service.pb.h"
#include "server/graph/graph.h"
#include "server/rpc/messages/answer_shape.h"
#include "server/serving/batching/task.h"

// What a request asks for beside its inputs: pure functions over messages that
// a peer wrote. Errors are INVALID_ARGUMENT with the field (bad_field.h).
namespace fff::rpc {

// The outputs that the request names, all where it names none. The main
// output's ids, which exist with the parameter "top_k", go with it.
// INVALID_ARGUMENT for a name that the model does not have, or one named twice.
absl::StatusOr<WantedOutputs> DecodeOutputs(
    const inference::ModelInferRequest& request, const OutputSpec& spec);
absl::StatusOr<WantedOutputs> DecodeOutputs(const v1::PredictRequest& request,
                                            const OutputSpec& spec);

// The request's own time limit, zero when there is none: timeout_us of our API,
// the protocol's request parameter "timeout" in microseconds. INVALID_ARGUMENT
// when it is not a non-negative integer.
absl::StatusOr<std::chrono::microseconds> DecodeTimeout(
    const v1::PredictRequest& request);
absl::StatusOr<std::chrono::microseconds> DecodeTimeout(
    const inference::ModelInferRequest& request);

// Which columns of the main output are wanted: top_k of our API; the protocol's
// request parameter "top_k", or "classification" of the requested output.
// INVALID_ARGUMENT when it is not 1 to the output's columns, or 0, or is said
// of another output.
absl::StatusOr<TopK> DecodeTopK(const v1::PredictRequest& request,
                                const OutputSpec& spec);
absl::StatusOr<TopK> DecodeTopK(const inference::ModelInferRequest& request,
                                const OutputSpec& spec);
// INVALID_ARGUMENT when columns of the main output are wanted, but not itself.
absl::Status CheckTopKWanted(const TopK& top, const WantedOutputs& wanted,
                             const OutputSpec& spec);

// 0 = the default, which is the second of three levels; 1 is the highest, 3 and
// above the lowest.
serving::Priority PriorityOf(uint64_t number);
// The protocol's request parameter "priority", as above. INVALID_ARGUMENT when
// it is not a non-negative integer.
absl::StatusOr<serving::Priority> DecodePriority(
    const inference::ModelInferRequest& request);

}  // namespace fff::rpc

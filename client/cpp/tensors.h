#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/prediction.h"
#include "fff/v1/inference.pb.h"

// Between the caller's arrays and the wire's tensors; pure functions.
namespace fff::client {

// [rows, row_shape], FP32, little-endian; an empty shape is [width].
v1::Tensor EncodeRows(Rows rows, const std::vector<int64_t>& row_shape = {});

// All of a request but its time limit.
v1::PredictRequest EncodeRequest(const std::string& model, Rows input,
                                 const PredictOptions& options);

// The same of inputs by name; the one without a name becomes `input`.
// INVALID_ARGUMENT names the input: none given, a name twice, no rows, rows
// that differ from the first input's, a shape that does not fit the bytes, or
// no datatype.
absl::StatusOr<v1::PredictRequest> EncodeRequest(
    const std::string& model, absl::Span<const NamedInput> inputs,
    const PredictOptions& options);

// Checks that the answer's tensors fit their own shapes and hold `rows` rows.
// INTERNAL otherwise.
absl::StatusOr<Prediction> DecodePrediction(v1::PredictResponse response,
                                            int64_t rows);

}  // namespace fff::client

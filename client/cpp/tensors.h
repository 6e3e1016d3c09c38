#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "fff/v1/inference.pb.h"

// Between rows of floats and the wire's tensors; pure functions.
namespace fff::client {

// [rows, width], FP32, little-endian.
v1::Tensor EncodeRows(Rows rows);

// Checks that the answer's tensor fits its own shape and holds `rows` rows.
// INTERNAL otherwise.
absl::StatusOr<Prediction> DecodePrediction(v1::PredictResponse response,
                                            int64_t rows);

}  // namespace fff::client

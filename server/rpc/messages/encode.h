#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fff/v1/inference.pb.h"
#include "inference/grpc_service.pb.h"
#include "server/engine/kernel.h"
#include "server/model/model.h"
#include "server/rpc/messages/answer_shape.h"
#include "server/serving/batching/servable.h"
#include "server/serving/batching/task.h"

// Results to responses. The model writes its outputs straight into the
// response's bytes: Prepare… makes room before the run, Finish… fills in the
// rest after it.
namespace fff::rpc {

// The places for the outputs inside the response; without data those that are
// not wanted.
struct AnswerRoom {
  tensor::MutableRows y;       // [shape.rows, shape.row_width()]
  int64_t* top_ids = nullptr;  // as y, where shape.top.k > 0
  absl::InlinedVector<tensor::MutableRows, 1> others;  // as shape.others
};
AnswerRoom PrepareOutput(const AnswerShape& shape,
                         v1::PredictResponse& response);
AnswerRoom PrepareOutput(const AnswerShape& shape,
                         inference::ModelInferResponse& response);

// The memory of the outputs' numbers, ids and texts, in floats. `main`: the
// main output.
int64_t AnswerFloats(const graph::Port& main, const AnswerShape& shape);

// INVALID_ARGUMENT when the answer would not fit into a message (2 GiB, of
// which a half is left to everything but the numbers).
absl::Status CheckAnswerSize(const model::Model& model,
                             const engine::Extent& extent,
                             const AnswerShape& shape, bool routing);

// Why a stream's request has no response. `status` is not OK.
void EncodeError(const absl::Status& status, v1::StreamError& error);

// Everything else of the response. `routing` is null when not asked for.
void FinishResponse(const v1::PredictRequest& request,
                    const serving::Servable& servable,
                    const serving::Task& task, const model::Routes* routing,
                    v1::PredictResponse& response);
void FinishResponse(const inference::ModelInferRequest& request,
                    const serving::Servable& servable,
                    const serving::Task& task, const TopK& top,
                    inference::ModelInferResponse& response);

}  // namespace fff::rpc

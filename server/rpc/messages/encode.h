#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fff/v1/inference.pb.h"
#include "inference/grpc_service.pb.h"
#include "server/engine/kernel.h"
#include "server/model/model.h"
#include "server/rpc/messages/answer_shape.h"
#include "server/serving/batching/servable.h"
#include "server/serving/batching/task.h"

// Results to responses. The model writes its output straight into the
// response's bytes: Prepare… makes room before the run, Finish… fills in the
// rest after it.
namespace fff::rpc {

// The place for the output inside the response.
struct AnswerRoom {
  tensor::MutableRows y;       // [shape.rows, shape.row_width()]
  int64_t* top_ids = nullptr;  // as y, where shape.top.k > 0
};
AnswerRoom PrepareOutput(const AnswerShape& shape,
                         v1::PredictResponse& response);
AnswerRoom PrepareOutput(const AnswerShape& shape,
                         inference::ModelInferResponse& response);

// The memory of the output's numbers, ids and texts, in floats.
int64_t AnswerFloats(const graph::Port& output, const AnswerShape& shape);

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

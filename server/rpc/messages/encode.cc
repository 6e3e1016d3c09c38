#include "server/rpc/messages/encode.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/rpc/messages/status_mapping.h"
#include "server/serving/batching/retry_after.h"

namespace fff::rpc {
namespace {

// A std::string's bytes as rows of floats. Heap storage is aligned for any
// type and the inline buffer of short strings for pointers, so for float too.
tensor::MutableRows RowsIn(std::string& bytes, int64_t rows, int64_t width) {
  bytes.resize(static_cast<size_t>(rows * width) * sizeof(float));
  return {reinterpret_cast<float*>(bytes.data()), rows, width};
}

void AppendLabels(const serving::Servable& servable, const serving::Task& task,
                  v1::PredictResponse& response) {
  const std::vector<std::string>& labels = servable.model().output().labels;
  if (labels.empty()) return;
  FFF_CHECK(static_cast<int64_t>(labels.size()) == task.y.width);
  for (int64_t r = 0; r < task.y.rows; ++r) {
    const float* row = task.y.row(r);
    const auto best = std::max_element(row, row + task.y.width) - row;
    response.add_labels(labels[static_cast<size_t>(best)]);
  }
}

void AppendRouting(const model::Model& model, const model::Routes& routing,
                   v1::PredictResponse& response) {
  FFF_CHECK(routing.sinks().size() == model.layers().size());
  for (size_t i = 0; i < routing.sinks().size(); ++i) {
    const graph::RoutingShape& shape = model.layers()[i].routing;
    if (shape.trees == 0) continue;
    v1::LayerRouting& layer = *response.add_routing();
    layer.set_layer(static_cast<int32_t>(i));
    layer.set_family(shape.family == graph::RoutingShape::Family::kLeaf
                         ? v1::FAMILY_LEAF
                         : v1::FAMILY_PATH);
    layer.set_trees(shape.trees);
    layer.set_tokens(shape.tokens);
    layer.set_depth(shape.depth);
    layer.set_margins_per_tree(shape.decisions);
    layer.mutable_leaf()->Add(routing.leaves(i).begin(),
                              routing.leaves(i).end());
    layer.mutable_margin()->Add(routing.margins(i).begin(),
                                routing.margins(i).end());
  }
}

}  // namespace

absl::Status CheckAnswerSize(const model::Model& model, int64_t rows,
                             bool routing) {
  int64_t numbers_a_row = model.output().width();
  for (const auto& layer : model.layers()) {
    const graph::RoutingShape& shape = layer.routing;
    // A leaf index takes up to five bytes as a varint.
    if (routing) numbers_a_row += shape.ways() * (2 + shape.decisions);
  }
  constexpr int64_t kBytesMax = int64_t{1} << 30;
  const int64_t rows_max =
      kBytesMax / (numbers_a_row * static_cast<int64_t>(sizeof(float)));
  if (rows <= rows_max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("got ", rows, " rows, wanted at most ", rows_max,
                   ": the answer would be larger than a message may be; split "
                   "the request"));
}

void EncodeError(const absl::Status& status, v1::StreamError& error) {
  FFF_CHECK(!status.ok());
  const grpc::Status mapped = ToGrpc(status);
  error.set_code(static_cast<int32_t>(mapped.error_code()));
  error.set_message(mapped.error_message());
  const auto delay = serving::RetryAfter(status);
  if (delay.has_value()) error.set_retry_after_ms(delay->count());
}

tensor::MutableRows PrepareOutput(const serving::Servable& servable,
                                  int64_t rows, v1::PredictResponse& response) {
  return RowsIn(*response.mutable_output()->mutable_data(), rows,
                servable.model().output().width());
}

tensor::MutableRows PrepareOutput(const serving::Servable& servable,
                                  int64_t rows,
                                  inference::ModelInferResponse& response) {
  return RowsIn(*response.add_raw_output_contents(), rows,
                servable.model().output().width());
}

void FinishResponse(const v1::PredictRequest& request,
                    const serving::Servable& servable,
                    const serving::Task& task, const model::Routes* routing,
                    v1::PredictResponse& response) {
  response.set_model(servable.parts().model_name);
  response.set_version(servable.parts().version);
  response.set_implementation(servable.parts().implementation ==
                                      serving::Implementation::kFff
                                  ? v1::IMPLEMENTATION_FFF
                                  : v1::IMPLEMENTATION_DENSE);
  response.set_request_id(request.request_id());
  v1::Tensor& output = *response.mutable_output();
  output.set_datatype(v1::DATA_TYPE_FP32);
  output.add_shape(task.y.rows);
  for (const int64_t dim : servable.model().output().shape) {
    output.add_shape(dim);
  }
  response.mutable_timing()->set_queue_ns(task.timing.queue_ns);
  response.mutable_timing()->set_compute_ns(task.timing.compute_ns);
  response.mutable_timing()->set_batch_rows(task.timing.batch_rows);
  if (request.include_labels()) AppendLabels(servable, task, response);
  if (routing != nullptr) AppendRouting(servable.model(), *routing, response);
}

void FinishResponse(const inference::ModelInferRequest& request,
                    const serving::Servable& servable,
                    const serving::Task& task,
                    inference::ModelInferResponse& response) {
  response.set_model_name(request.model_name());
  response.set_model_version(absl::StrCat(servable.parts().version));
  response.set_id(request.id());
  auto& output = *response.add_outputs();
  output.set_name(servable.model().output().name);
  output.set_datatype("FP32");
  output.add_shape(task.y.rows);
  for (const int64_t dim : servable.model().output().shape) {
    output.add_shape(dim);
  }
}

}  // namespace fff::rpc

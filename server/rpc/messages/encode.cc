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
tensor::MutableRows RowsIn(std::string& bytes, const engine::Extent& extent,
                           const graph::Port& port) {
  const int64_t elements = extent.Of(port.sequence) * port.width();
  bytes.resize(static_cast<size_t>(elements) * sizeof(float));
  return {reinterpret_cast<float*>(bytes.data()), extent.rows,
          elements / extent.rows};
}

// [rows, tokens where the output has a row for each, the port's shape].
template <class AddDim>
void AddShape(const serving::Servable& servable, const serving::Task& task,
              const AddDim& add) {
  const graph::Port& port = servable.model().output();
  add(task.rows());
  if (port.sequence) add(task.tokens);
  for (const int64_t dim : port.shape) add(dim);
}

// One per row; per token of each row where the output has a row for each.
void AppendLabels(const serving::Servable& servable, const serving::Task& task,
                  v1::PredictResponse& response) {
  const std::vector<std::string>& labels = servable.model().output().labels;
  if (labels.empty()) return;
  const auto width = static_cast<int64_t>(labels.size());
  FFF_CHECK(task.y.width % width == 0);
  const int64_t count = task.y.rows * (task.y.width / width);
  for (int64_t i = 0; i < count; ++i) {
    const float* row = task.y.data + i * width;
    const auto best = std::max_element(row, row + width) - row;
    response.add_labels(labels[static_cast<size_t>(best)]);
  }
}

void AppendRouting(const model::Model& model, const serving::Task& task,
                   const model::Routes& routing,
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
    layer.set_tokens(shape.tokens * (shape.per_token ? task.tokens : 1));
    layer.set_depth(shape.depth);
    layer.set_margins_per_tree(shape.decisions);
    layer.mutable_leaf()->Add(routing.leaves(i).begin(),
                              routing.leaves(i).end());
    layer.mutable_margin()->Add(routing.margins(i).begin(),
                                routing.margins(i).end());
  }
}

}  // namespace

absl::Status CheckAnswerSize(const model::Model& model,
                             const engine::Extent& extent, bool routing) {
  const int64_t tokens = extent.tokens / extent.rows;
  const auto a_row = [tokens](bool per_token) {
    return per_token ? tokens : 1;
  };
  int64_t numbers_a_row =
      model.output().width() * a_row(model.output().sequence);
  for (const auto& layer : model.layers()) {
    const graph::RoutingShape& shape = layer.routing;
    // A leaf index takes up to five bytes as a varint.
    if (routing) {
      numbers_a_row +=
          shape.ways() * a_row(shape.per_token) * (2 + shape.decisions);
    }
  }
  constexpr int64_t kBytesMax = int64_t{1} << 30;
  const int64_t rows_max =
      kBytesMax / (numbers_a_row * static_cast<int64_t>(sizeof(float)));
  if (extent.rows <= rows_max) return absl::OkStatus();
  if (rows_max == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "got a row of ", tokens, tokens == 1 ? " token" : " tokens",
        ", whose answer would be larger than a message may be; send shorter "
        "rows"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("got ", extent.rows, " rows, wanted at most ", rows_max,
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
                                  const engine::Extent& extent,
                                  v1::PredictResponse& response) {
  return RowsIn(*response.mutable_output()->mutable_data(), extent,
                servable.model().output());
}

tensor::MutableRows PrepareOutput(const serving::Servable& servable,
                                  const engine::Extent& extent,
                                  inference::ModelInferResponse& response) {
  return RowsIn(*response.add_raw_output_contents(), extent,
                servable.model().output());
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
  AddShape(servable, task, [&](int64_t dim) { output.add_shape(dim); });
  response.mutable_timing()->set_queue_ns(task.timing.queue_ns);
  response.mutable_timing()->set_compute_ns(task.timing.compute_ns);
  response.mutable_timing()->set_batch_rows(task.timing.batch_rows);
  if (request.include_labels()) AppendLabels(servable, task, response);
  if (routing != nullptr)
    AppendRouting(servable.model(), task, *routing, response);
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
  AddShape(servable, task, [&](int64_t dim) { output.add_shape(dim); });
}

}  // namespace fff::rpc

#include "server/rpc/messages/encode.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/check.h"
#include "server/rpc/messages/status_mapping.h"
#include "server/serving/batching/retry_after.h"
#include "server/serving/batching/top_columns.h"

namespace fff::rpc {
namespace {

// A std::string's bytes as numbers. Heap storage is aligned for any type and
// the inline buffer of short strings for pointers, so for these, too.
template <class Number>
Number* NumbersIn(std::string& bytes, int64_t count) {
  static_assert(alignof(Number) <= alignof(void*));
  bytes.resize(static_cast<size_t>(count) * sizeof(Number));
  return reinterpret_cast<Number*>(bytes.data());
}

// `y`, `ids` and `other` make room, each called where it is wanted, in the
// order of the outputs.
template <class Y, class Ids, class Other>
AnswerRoom RoomIn(const AnswerShape& shape, const Y& y, const Ids& ids,
                  const Other& other) {
  const int64_t count = shape.rows * shape.row_width();
  AnswerRoom room;
  room.y = {nullptr, shape.rows, shape.row_width()};
  if (count > 0) room.y.data = NumbersIn<float>(*y(), count);
  if (shape.top.k > 0) room.top_ids = NumbersIn<int64_t>(*ids(), count);
  for (const int64_t width : shape.others) {
    room.others.push_back({nullptr, shape.rows, width});
    if (width == 0) continue;
    room.others.back().data = NumbersIn<float>(*other(), shape.rows * width);
  }
  return room;
}

// Of output `i`: [rows, tokens or positions where it has a row for each, the
// port's shape or the strongest columns].
template <class AddDim>
void AddShape(const serving::Servable& servable, const serving::Task& task,
              size_t i, const AddDim& add) {
  const graph::Port& port = servable.model().graph().outputs()[i];
  add(task.rows());
  if (port.sequence) add(task.outputs_per_row(/*per_token=*/true));
  if (i == 0 && task.top_k > 0) return add(task.top_k);
  for (const int64_t dim : port.shape) add(dim);
}

// Names, types and shapes of the outputs behind the main one.
void DescribeOthers(const serving::Servable& servable,
                    const serving::Task& task, v1::PredictResponse& response) {
  int next = 0;
  for (size_t i = 1; i <= task.others.size(); ++i) {
    if (task.output(i).data == nullptr) continue;
    v1::NamedTensor& named = *response.mutable_outputs(next++);
    named.set_name(servable.model().graph().outputs()[i].name);
    v1::Tensor& tensor = *named.mutable_tensor();
    tensor.set_datatype(v1::DATA_TYPE_FP32);
    AddShape(servable, task, i, [&](int64_t dim) { tensor.add_shape(dim); });
  }
}

// Likewise of the main one, whose numbers are there.
void DescribeMain(const serving::Servable& servable, const serving::Task& task,
                  v1::PredictResponse& response) {
  if (task.y.data == nullptr) return;
  v1::Tensor& output = *response.mutable_output();
  output.set_datatype(v1::DATA_TYPE_FP32);
  AddShape(servable, task, 0, [&](int64_t dim) { output.add_shape(dim); });
  if (task.top_k == 0) return;
  response.mutable_top_ids()->set_datatype(v1::DATA_TYPE_INT64);
  *response.mutable_top_ids()->mutable_shape() = output.shape();
}

// Of the strongest column of each output, or of all that were asked for.
void AppendLabels(const serving::Servable& servable, const serving::Task& task,
                  v1::PredictResponse& response) {
  const std::vector<std::string>& labels = servable.model().output().labels;
  if (labels.empty() || task.y.data == nullptr) return;
  const auto width = static_cast<int64_t>(labels.size());
  if (task.top_k > 0) {
    for (int64_t i = 0; i < task.y.rows * task.y.width; ++i) {
      response.add_labels(labels[static_cast<size_t>(task.top_ids[i])]);
    }
    return;
  }
  FFF_CHECK(task.y.width % width == 0);
  const int64_t count = task.y.rows * (task.y.width / width);
  for (int64_t i = 0; i < count; ++i) {
    float value = 0;
    int64_t best = 0;
    serving::SelectTop(task.y.data + i * width, width, 1, &value, &best);
    response.add_labels(labels[static_cast<size_t>(best)]);
  }
}

// The protocol's strings, each behind its length in four bytes: "0.25:7:cat".
std::string ClassTexts(const std::vector<std::string>& labels,
                       const serving::Task& task) {
  std::string all;
  for (int64_t i = 0; i < task.y.rows * task.y.width; ++i) {
    const auto id = static_cast<size_t>(task.top_ids[i]);
    const std::string text = absl::StrCat(
        absl::StrFormat("%.9g", task.y.data[i]), ":", id,
        labels.empty() ? "" : ":", labels.empty() ? "" : labels[id]);
    const auto length = static_cast<uint32_t>(text.size());
    all.append(reinterpret_cast<const char*>(&length), sizeof(length));
    all.append(text);
  }
  return all;
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

int64_t AnswerFloats(const graph::Port& main, const AnswerShape& shape) {
  const int64_t others = shape.rows * absl::c_accumulate(shape.others, 0L);
  if (shape.top.k == 0) return others + shape.rows * shape.row_width();
  int64_t floats = 3;  // with an id of eight bytes
  if (shape.top.classification) {
    constexpr size_t kNumbersBytes = 32;
    size_t longest = 0;
    for (const std::string& label : main.labels) {
      longest = std::max(longest, label.size());
    }
    floats += static_cast<int64_t>((kNumbersBytes + longest) / sizeof(float));
  }
  return others + shape.rows * shape.row_width() * floats;
}

absl::Status CheckAnswerSize(const model::Model& model,
                             const engine::Extent& extent,
                             const AnswerShape& shape, bool routing) {
  const int64_t tokens = extent.tokens / extent.rows;
  const auto a_row = [tokens](bool per_token) {
    return per_token ? tokens : 1;
  };
  int64_t numbers_a_row = AnswerFloats(model.output(), shape) / extent.rows;
  for (const auto& layer : model.layers()) {
    const graph::RoutingShape& ways = layer.routing;
    // A leaf index takes up to five bytes as a varint.
    if (routing) {
      numbers_a_row +=
          ways.ways() * a_row(ways.per_token) * (2 + ways.decisions);
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

AnswerRoom PrepareOutput(const AnswerShape& shape,
                         v1::PredictResponse& response) {
  return RoomIn(
      shape, [&] { return response.mutable_output()->mutable_data(); },
      [&] { return response.mutable_top_ids()->mutable_data(); },
      [&] { return response.add_outputs()->mutable_tensor()->mutable_data(); });
}

AnswerRoom PrepareOutput(const AnswerShape& shape,
                         inference::ModelInferResponse& response) {
  const auto add = [&] { return response.add_raw_output_contents(); };
  return RoomIn(shape, add, add, add);
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
  DescribeMain(servable, task, response);
  DescribeOthers(servable, task, response);
  response.mutable_timing()->set_queue_ns(task.timing.queue_ns);
  response.mutable_timing()->set_compute_ns(task.timing.compute_ns);
  response.mutable_timing()->set_batch_rows(task.timing.batch_rows);
  if (request.include_labels()) AppendLabels(servable, task, response);
  if (routing != nullptr)
    AppendRouting(servable.model(), task, *routing, response);
}

void FinishResponse(const inference::ModelInferRequest& request,
                    const serving::Servable& servable,
                    const serving::Task& task, const TopK& top,
                    inference::ModelInferResponse& response) {
  response.set_model_name(request.model_name());
  response.set_model_version(absl::StrCat(servable.parts().version));
  response.set_id(request.id());
  const absl::Span<const graph::Port> ports =
      servable.model().graph().outputs();
  const auto add = [&](size_t i, const std::string& name,
                       const char* datatype) {
    auto& output = *response.add_outputs();
    output.set_name(name);
    output.set_datatype(datatype);
    AddShape(servable, task, i, [&](int64_t dim) { output.add_shape(dim); });
  };
  const std::string& main = ports[0].name;
  if (top.classification) {  // the texts take the place of numbers and ids
    *response.mutable_raw_output_contents(0) =
        ClassTexts(ports[0].labels, task);
    response.mutable_raw_output_contents()->DeleteSubrange(1, 1);
    add(0, main, "BYTES");
  } else if (task.y.data != nullptr) {
    add(0, main, "FP32");
    if (top.k > 0) add(0, absl::StrCat(main, kTopIdsSuffix), "INT64");
  }
  for (size_t i = 1; i < ports.size(); ++i) {
    if (task.output(i).data != nullptr) add(i, ports[i].name, "FP32");
  }
}

}  // namespace fff::rpc

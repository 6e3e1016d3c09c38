#include "server/rpc/messages/model_messages.h"

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/model/describe_layers.h"
#include "server/rpc/messages/input_decoder.h"

namespace fff::rpc {
namespace {

using serving::Implementation;
using serving::VersionState;

v1::ModelState ToState(VersionState state) {
  switch (state) {
    case VersionState::kLoading:
      return v1::MODEL_STATE_LOADING;
    case VersionState::kReady:
      return v1::MODEL_STATE_READY;
    case VersionState::kFailed:
      return v1::MODEL_STATE_FAILED;
    case VersionState::kUnloaded:
      return v1::MODEL_STATE_UNLOADED;
  }
  return v1::MODEL_STATE_UNSPECIFIED;
}

std::string Description(const serving::Servable& servable) {
  if (servable.parts().implementation == Implementation::kDense) {
    return servable.parts().dense_description;
  }
  std::string text = model::DescribeLayers(servable.model());
  const std::string& precision = servable.parts().precision_report;
  if (!precision.empty()) absl::StrAppend(&text, " | ", precision);
  const std::string& proof = servable.parts().proof;
  if (!proof.empty()) absl::StrAppend(&text, " | ", proof);
  return text;
}

v1::ModelSummary Summary(const serving::VersionStatus& status,
                         Implementation implementation) {
  const bool dense = implementation == Implementation::kDense;
  v1::ModelSummary summary;
  summary.set_name(
      absl::StrCat(status.model_name, dense ? serving::kDenseSuffix : ""));
  summary.set_version(status.version);
  summary.set_state(ToState(status.state));
  summary.set_reason(serving::ReasonOf(status));
  summary.set_is_default_version(status.is_default);
  summary.set_implementation(dense ? v1::IMPLEMENTATION_DENSE
                                   : v1::IMPLEMENTATION_FFF);
  const auto& servable = dense ? status.dense : status.fff;
  if (servable != nullptr) summary.set_description(Description(*servable));
  return summary;
}

// What a request may send: the inputs, and positions.
std::vector<const graph::Port*> RequestPorts(const graph::Graph& graph) {
  std::vector<const graph::Port*> ports;
  for (const graph::Port& port : graph.inputs()) ports.push_back(&port);
  if (graph.positions() != nullptr) ports.push_back(graph.positions());
  return ports;
}

std::string DenseKindName(const serving::Servable::Parts& parts) {
  if (parts.dense == importer::DenseChoice::kOff) return "none";
  return parts.dense_is_trained ? "trained" : "cost_baseline";
}

v1::DataType ToDataType(tensor::DataType type) {
  switch (type) {
    case tensor::DataType::kU8:
      return v1::DATA_TYPE_UINT8;
    case tensor::DataType::kI32:
      return v1::DATA_TYPE_INT32;
    case tensor::DataType::kI64:
      return v1::DATA_TYPE_INT64;
    default:
      return v1::DATA_TYPE_FP32;
  }
}

// Of one row; -1 stands for a sequence of any length.
tensor::Shape RowShape(const graph::Port& spec) {
  tensor::Shape shape = spec.shape;
  if (spec.sequence) shape.insert(shape.begin(), -1);
  return shape;
}

void FillTensor(const graph::Port& spec, v1::TensorMetadata& tensor) {
  const tensor::Shape shape = RowShape(spec);
  tensor.set_name(spec.name);
  tensor.set_datatype(ToDataType(spec.data_type));
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.mutable_labels()->Add(spec.labels.begin(), spec.labels.end());
  tensor.set_optional(spec.optional);
}

void FillLayer(const model::Model& model, size_t index, v1::LayerInfo& info) {
  const model::LayerFacts& layer = model.layers()[index];
  info.set_type(layer.type);
  info.set_description(layer.description);
  info.set_input_width(layer.input_width);
  info.set_output_width(layer.output_width);
  info.set_weights_bytes(layer.weights_bytes);
  for (const engine::KernelPlan::Step& step : model.KernelSteps(index)) {
    v1::KernelStep& kernel = *info.add_kernels();
    kernel.set_rows_min(step.rows_min);
    kernel.set_kernel(step.kernel);
    kernel.set_reason(step.reason);
  }
}

void FillTensor(const graph::Port& spec,
                inference::ModelMetadataResponse::TensorMetadata& tensor) {
  tensor.set_name(spec.name);
  tensor.set_datatype(std::string(WireName(spec.data_type)));
  tensor.add_shape(-1);
  for (const int64_t dim : RowShape(spec)) tensor.add_shape(dim);
}

inference::DataType ToConfigType(tensor::DataType type) {
  switch (type) {
    case tensor::DataType::kU8:
      return inference::TYPE_UINT8;
    case tensor::DataType::kI32:
      return inference::TYPE_INT32;
    case tensor::DataType::kI64:
      return inference::TYPE_INT64;
    default:
      return inference::TYPE_FP32;
  }
}

void SetDuration(uint64_t count, uint64_t ns,
                 inference::StatisticDuration& duration) {
  duration.set_count(count);
  duration.set_ns(ns);
}

}  // namespace

void AppendSummaries(const serving::VersionStatus& status,
                     v1::ListModelsResponse& response) {
  *response.add_models() = Summary(status, Implementation::kFff);
  const auto twin = serving::TwinOf(status);
  if (!twin.has_value()) return;
  v1::ModelSummary& dense = *response.add_models();
  dense = Summary(status, Implementation::kDense);
  dense.set_state(ToState(twin->state));
  dense.set_reason(twin->reason);
}

v1::ModelSummary Summarize(const serving::VersionStatus& status) {
  return Summary(status, Implementation::kFff);
}

v1::GetModelResponse DescribeModel(
    const serving::Servable& servable,
    const std::vector<serving::VersionStatus>& siblings) {
  const serving::Servable::Parts& parts = servable.parts();
  v1::GetModelResponse response;
  for (const serving::VersionStatus& status : siblings) {
    response.add_versions(status.version);
    if (status.version == parts.version) {
      *response.mutable_summary() = Summary(status, parts.implementation);
    }
  }
  const graph::Graph& graph = servable.model().graph();
  FillTensor(graph.inputs()[0], *response.mutable_input());
  for (const graph::Port* port : RequestPorts(graph)) {
    FillTensor(*port, *response.add_inputs());
  }
  if (graph.sequences()) {
    response.set_max_batch_tokens(parts.batching.max_batch_tokens);
    response.set_max_sequence(graph.tokens_max());
  }
  FillTensor(graph.outputs()[0], *response.mutable_output());
  for (const graph::Port& port : graph.outputs()) {
    FillTensor(port, *response.add_outputs());
  }
  for (size_t i = 0; i < servable.model().layers().size(); ++i) {
    FillLayer(servable.model(), i, *response.add_layers());
  }
  if (parts.dense != importer::DenseChoice::kOff) {
    response.set_dense_kind(parts.dense_is_trained
                                ? v1::DENSE_KIND_TRAINED
                                : v1::DENSE_KIND_COST_BASELINE);
  }
  response.set_dense_description(parts.dense_description);
  response.set_weights_bytes(servable.model().weights_bytes());
  response.set_max_batch_rows(parts.batching.max_batch_rows);
  response.set_load_seconds(parts.load_seconds);
  response.set_device(parts.device);
  response.set_flops_per_row(servable.model().cost().flops);
  response.set_checkpoint_file(parts.checkpoint_file);
  response.mutable_assumed()->Add(parts.assumed.begin(), parts.assumed.end());
  return response;
}

void FillMetadata(const serving::Servable& servable,
                  const std::vector<serving::VersionStatus>& siblings,
                  inference::ModelMetadataResponse& response) {
  const serving::Servable::Parts& parts = servable.parts();
  response.set_name(servable.name());
  for (const serving::VersionStatus& status : siblings) {
    if (status.state != VersionState::kReady) continue;
    response.add_versions(absl::StrCat(status.version));
  }
  response.set_platform(kPlatform);
  for (const graph::Port* port : RequestPorts(servable.model().graph())) {
    FillTensor(*port, *response.add_inputs());
  }
  for (const graph::Port& port : servable.model().graph().outputs()) {
    FillTensor(port, *response.add_outputs());
  }
  auto& properties = *response.mutable_properties();
  properties["implementation"] = std::string(Name(parts.implementation));
  properties["description"] = Description(servable);
  properties["dense_kind"] = DenseKindName(parts);
  properties["dense_description"] = parts.dense_description;
}

void FillConfig(const serving::Servable& servable,
                inference::ModelConfig& config) {
  const serving::Servable::Parts& parts = servable.parts();
  config.set_name(servable.name());
  config.set_platform(kPlatform);
  config.set_backend(kPlatform);
  config.set_max_batch_size(static_cast<int32_t>(std::min<int64_t>(
      parts.batching.max_batch_rows, std::numeric_limits<int32_t>::max())));
  for (const graph::Port* port : RequestPorts(servable.model().graph())) {
    inference::ModelInput& input = *config.add_input();
    input.set_name(port->name);
    input.set_data_type(ToConfigType(port->data_type));
    for (const int64_t dim : RowShape(*port)) input.add_dims(dim);
    input.set_optional(port->optional);
  }
  for (const graph::Port& port : servable.model().graph().outputs()) {
    inference::ModelOutput& output = *config.add_output();
    output.set_name(port.name);
    output.set_data_type(inference::TYPE_FP32);
    for (const int64_t dim : RowShape(port)) output.add_dims(dim);
  }
  config.mutable_dynamic_batching()->set_max_queue_delay_microseconds(
      static_cast<uint64_t>(parts.batching.max_queue_delay_us));
  auto& parameters = *config.mutable_parameters();
  parameters["implementation"].set_string_value(
      std::string(Name(parts.implementation)));
  parameters["dense_kind"].set_string_value(DenseKindName(parts));
}

void FillStatistics(const serving::Servable& servable,
                    inference::ModelStatistics& statistics) {
  const metrics::ModelMetrics& metrics = servable.metrics();
  uint64_t ok = 0;
  uint64_t failed = 0;
  for (const auto& method : metrics.requests) {
    for (size_t code = 0; code < method.size(); ++code) {
      (code == 0 ? ok : failed) += method[code].Value();
    }
  }
  statistics.set_name(servable.name());
  statistics.set_version(absl::StrCat(servable.parts().version));
  statistics.set_last_inference(static_cast<uint64_t>(
      metrics.last_inference_ms.load(std::memory_order_relaxed)));
  statistics.set_inference_count(metrics.rows.Value());
  // A batch is an execution.
  statistics.set_execution_count(metrics.compute_duration.Snapshot().count);
  inference::InferStatistics& infer = *statistics.mutable_inference_stats();
  SetDuration(ok, metrics.success_ns.Value(), *infer.mutable_success());
  SetDuration(failed, metrics.fail_ns.Value(), *infer.mutable_fail());
  // Each successful request once in all four, whatever batches it was part of:
  // load generators compare them.
  SetDuration(ok, metrics.queued_ns.Value(), *infer.mutable_queue());
  SetDuration(ok, metrics.computed_ns.Value(), *infer.mutable_compute_infer());
  SetDuration(ok, metrics.decode_ns.Value(), *infer.mutable_compute_input());
  SetDuration(ok, metrics.encode_ns.Value(), *infer.mutable_compute_output());
}

void AppendIndex(const serving::VersionStatus& status, bool only_ready,
                 inference::RepositoryIndexResponse& response) {
  const auto append = [&](absl::string_view suffix, VersionState state,
                          const std::string& reason) {
    const bool ready = state == VersionState::kReady;
    if (only_ready && !ready) return;
    auto& entry = *response.add_models();
    entry.set_name(absl::StrCat(status.model_name, suffix));
    entry.set_version(absl::StrCat(status.version));
    entry.set_state(ready                             ? "READY"
                    : state == VersionState::kLoading ? "LOADING"
                                                      : "UNAVAILABLE");
    entry.set_reason(reason);
  };
  append("", status.state, serving::ReasonOf(status));
  const auto twin = serving::TwinOf(status);
  if (twin.has_value()) {
    append(serving::kDenseSuffix, twin->state, twin->reason);
  }
}

}  // namespace fff::rpc

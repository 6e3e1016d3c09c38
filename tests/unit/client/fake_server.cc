#include "tests/unit/client/fake_server.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/server_builder.h"

namespace fff::client {
namespace {

constexpr int64_t kInputWidth = 4;

grpc::Status NotFound(const std::string& model) {
  return {grpc::StatusCode::NOT_FOUND,
          absl::StrCat("no model '", model, "', there is: sum")};
}

void FillSummary(const std::string& name, v1::ModelSummary* summary) {
  const bool dense = absl::EndsWith(name, ":dense");
  summary->set_name(name);
  summary->set_version(3);
  summary->set_state(v1::MODEL_STATE_READY);
  summary->set_is_default_version(true);
  summary->set_implementation(dense ? v1::IMPLEMENTATION_DENSE
                                    : v1::IMPLEMENTATION_FFF);
  summary->set_description("adds its columns");
}

bool ShowsToken(const grpc::ServerContext& context) {
  const auto found = context.client_metadata().find("authorization");
  return found != context.client_metadata().end() &&
         found->second == "Bearer s3cret";
}

void AddRouting(int64_t rows, int64_t tokens, v1::PredictResponse* response) {
  v1::LayerRouting* routing = response->add_routing();
  routing->set_family(v1::FAMILY_LEAF);
  routing->set_trees(1);
  routing->set_depth(2);
  routing->set_margins_per_tree(2);
  routing->set_tokens(tokens);
  for (int64_t way = 0; way < rows * tokens; ++way) {
    routing->add_leaf(2);
    routing->add_margin(1.5F);
    routing->add_margin(-0.5F);
  }
}

void FillSequence(const std::string& name, v1::TensorMetadata* metadata) {
  metadata->set_name(name);
  metadata->set_datatype(v1::DATA_TYPE_INT64);
  metadata->add_shape(-1);
}

void DescribeWords(v1::GetModelResponse* response) {
  FillSummary("words", response->mutable_summary());
  FillSequence("input_ids", response->add_inputs());
  *response->mutable_input() = response->inputs(0);
  FillSequence("attention_mask", response->add_inputs());
  response->mutable_inputs(1)->set_optional(true);
  response->mutable_output()->add_shape(-1);
  response->mutable_output()->add_shape(3);
  for (const char* label : {"up", "down", "flat"}) {
    response->mutable_output()->add_labels(label);
  }
  response->set_max_batch_tokens(8);
  response->set_max_sequence(6);
}

grpc::Status Invalid(const std::string& message) {
  return {grpc::StatusCode::INVALID_ARGUMENT, message};
}

std::vector<int64_t> Integers(const v1::Tensor& tensor) {
  std::vector<int64_t> values(tensor.data().size() / sizeof(int64_t));
  std::memcpy(values.data(), tensor.data().data(),
              values.size() * sizeof(int64_t));
  return values;
}

// Of "words".
grpc::Status AnswerWords(const v1::PredictRequest& request,
                         v1::PredictResponse* response) {
  std::vector<v1::NamedTensor> inputs(request.inputs().begin(),
                                      request.inputs().end());
  if (request.has_input()) {
    inputs.emplace_back().set_name("input_ids");
    *inputs.back().mutable_tensor() = request.input();
  }
  std::vector<int64_t> ids;
  std::vector<int64_t> mask;
  for (const v1::NamedTensor& input : inputs) {
    if (input.name() != "input_ids" && input.name() != "attention_mask") {
      return Invalid(absl::StrCat("model 'words' has no input '", input.name(),
                                  "', wanted input_ids or attention_mask"));
    }
    const v1::Tensor& tensor = input.tensor();
    if (tensor.datatype() != v1::DATA_TYPE_INT64) {
      return Invalid(absl::StrCat(input.name(), ": got ",
                                  v1::DataType_Name(tensor.datatype()),
                                  ", wanted DATA_TYPE_INT64"));
    }
    (input.name() == "input_ids" ? ids : mask) = Integers(tensor);
    response->mutable_output()->mutable_shape()->CopyFrom(tensor.shape());
  }
  if (ids.empty()) return Invalid("input_ids is missing");
  mask.resize(ids.size(), mask.empty() ? 1 : 0);
  response->set_model(request.model());
  response->set_version(3);
  v1::Tensor* output = response->mutable_output();
  output->add_shape(3);
  output->set_datatype(v1::DATA_TYPE_FP32);
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto id = static_cast<float>(ids[i] * mask[i]);
    const float answer[3] = {id, -id, 0};
    output->mutable_data()->append(reinterpret_cast<const char*>(answer),
                                   sizeof answer);
  }
  if (request.include_routing()) {
    AddRouting(output->shape(0), output->shape(1), response);
  }
  return grpc::Status::OK;
}

}  // namespace

class FakeServer::Inference final : public v1::InferenceService::Service {
 public:
  explicit Inference(absl::Notification& stuck) : stuck_(stuck) {}
  int calls() const { return calls_; }

  grpc::Status Predict(grpc::ServerContext*, const v1::PredictRequest* request,
                       v1::PredictResponse* response) override {
    return Answer(*request, 1, response);
  }

  grpc::Status PredictDense(grpc::ServerContext*,
                            const v1::PredictRequest* request,
                            v1::PredictResponse* response) override {
    return Answer(*request, -1, response);
  }

  grpc::Status PredictStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::PredictStreamResponse, v1::PredictRequest>*
          stream) override {
    for (v1::PredictRequest request; stream->Read(&request);) {
      if (request.model() == "unsaid") continue;
      if (request.model() == "broken") {
        return {grpc::StatusCode::DATA_LOSS, "the stream broke"};
      }
      v1::PredictStreamResponse answer;
      answer.set_request_id(request.model() == "stray" ? "nobody's"
                                                       : request.request_id());
      const std::string model(absl::StripSuffix(request.model(), ":dense"));
      const bool dense = model != request.model();
      request.set_model(model);
      const grpc::Status status =
          Answer(request, dense ? -1 : 1, answer.mutable_response());
      if (!status.ok()) {
        answer.mutable_error()->set_code(status.error_code());
        answer.mutable_error()->set_message(status.error_message());
      }
      stream->Write(answer);
    }
    return grpc::Status::OK;
  }

  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* response) override {
    FillSummary("sum", response->add_models());
    FillSummary("sum:dense", response->add_models());
    FillSummary("words", response->add_models());
    v1::ModelSummary* broken = response->add_models();
    broken->set_name("broken");
    broken->set_version(1);
    broken->set_state(v1::MODEL_STATE_FAILED);
    broken->set_reason("model.safetensors: header is cut");
    return grpc::Status::OK;
  }

  grpc::Status GetModel(grpc::ServerContext*,
                        const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override {
    if (request->model() == "words") {
      DescribeWords(response);
      return grpc::Status::OK;
    }
    if (!absl::StartsWith(request->model(), "sum")) {
      return NotFound(request->model());
    }
    FillSummary(request->model(), response->mutable_summary());
    response->mutable_input()->set_name("pixels");
    response->mutable_input()->set_datatype(v1::DATA_TYPE_FP32);
    response->mutable_input()->add_shape(kInputWidth);
    response->mutable_output()->add_shape(3);
    for (const char* label : {"up", "down", "flat"}) {
      response->mutable_output()->add_labels(label);
    }
    response->set_dense_kind(v1::DENSE_KIND_TRAINED);
    v1::LayerInfo* layer = response->add_layers();
    layer->set_type("fff");
    v1::KernelStep* step = layer->add_kernels();
    step->set_rows_min(1);
    step->set_kernel("leaf_walk");
    step->set_reason("least predicted cost");
    return grpc::Status::OK;
  }

  // Both want the token "s3cret".
  grpc::Status LoadModel(grpc::ServerContext* context,
                         const v1::LoadModelRequest* request,
                         v1::LoadModelResponse* response) override {
    if (!ShowsToken(*context)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "LoadModel needs the token"};
    }
    if (request->model() != "sum") return NotFound(request->model());
    FillSummary(request->model(), response->add_models());
    response->mutable_models(0)->set_version(request->version());
    return grpc::Status::OK;
  }

  grpc::Status UnloadModel(grpc::ServerContext* context,
                           const v1::UnloadModelRequest* request,
                           v1::UnloadModelResponse* response) override {
    if (!ShowsToken(*context)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "UnloadModel needs the token"};
    }
    if (request->model() != "sum") return NotFound(request->model());
    FillSummary(request->model(), response->add_models());
    response->mutable_models(0)->set_state(v1::MODEL_STATE_UNLOADED);
    response->mutable_models(0)->set_reason("not loaded");
    return grpc::Status::OK;
  }

  grpc::Status Benchmark(
      grpc::ServerContext*, const v1::BenchmarkRequest* request,
      grpc::ServerWriter<v1::BenchmarkResponse>* writer) override {
    if (request->model() != "sum" && request->model() != "silent" &&
        request->model() != "endless") {
      return NotFound(request->model());
    }
    v1::BenchmarkResponse response;
    response.mutable_progress()->set_total(2);
    response.mutable_progress()->set_step("1 row");
    for (int done = 0; done < 2; ++done) {
      response.mutable_progress()->set_done(done);
      writer->Write(response);
    }
    while (request->model() == "endless" && writer->Write(response)) {
    }
    if (request->model() == "sum") {
      FillReport(*request, response.mutable_report());
      writer->Write(response);
    }
    return grpc::Status::OK;
  }

 private:
  grpc::Status Answer(const v1::PredictRequest& request, float sign,
                      v1::PredictResponse* response) {
    ++calls_;
    if (request.model() == "stuck") stuck_.WaitForNotification();
    if (request.model() == "liar") {
      response->mutable_output()->set_datatype(v1::DATA_TYPE_FP32);
      response->mutable_output()->add_shape(1);
      response->mutable_output()->add_shape(int64_t{1} << 60);
      response->mutable_output()->set_data("four");
      return grpc::Status::OK;
    }
    if (request.model() == "words") return AnswerWords(request, response);
    if (request.model() != "sum") return NotFound(request.model());
    const int64_t rows = request.input().shape(0);
    if (request.input().shape_size() != 2 ||
        request.input().shape(1) != kInputWidth) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "wanted 4 columns"};
    }
    Sum(request.input(), rows, sign, response->mutable_output());
    response->set_model(request.model());
    response->set_version(3);
    response->set_implementation(sign < 0 ? v1::IMPLEMENTATION_DENSE
                                          : v1::IMPLEMENTATION_FFF);
    response->mutable_timing()->set_batch_rows(rows);
    if (request.include_labels()) {
      for (int64_t r = 0; r < rows; ++r) response->add_labels("up");
    }
    if (request.include_routing()) AddRouting(rows, 1, response);
    return grpc::Status::OK;
  }

  static void Sum(const v1::Tensor& input, int64_t rows, float sign,
                  v1::Tensor* output) {
    output->set_datatype(v1::DATA_TYPE_FP32);
    output->add_shape(rows);
    output->add_shape(3);
    for (int64_t r = 0; r < rows; ++r) {
      float row[kInputWidth];
      std::memcpy(row,
                  input.data().data() + static_cast<size_t>(r) * sizeof row,
                  sizeof row);
      const float sum = sign * (row[0] + row[1] + row[2] + row[3]);
      const float answer[3] = {sum, -sum, 0};
      output->mutable_data()->append(reinterpret_cast<const char*>(answer),
                                     sizeof answer);
    }
  }

  static void FillReport(const v1::BenchmarkRequest& request,
                         v1::BenchmarkReport* report) {
    report->set_model(request.model());
    report->set_threads(request.threads());
    report->set_memory_gbps(20);
    report->set_dense_kind(v1::DENSE_KIND_TRAINED);
    // The version of the model, before these inputs were there.
    report->set_own_rows(request.inputs_size() > 0 && request.threads() < 9);
    for (const int64_t rows : request.batch_rows()) {
      v1::BenchmarkCase* one = report->add_cases();
      one->set_rows(rows);
      one->mutable_fff()->set_median_s(1e-6);
      one->mutable_fff()->set_p10_s(0.9e-6);
      one->mutable_fff()->set_p90_s(1.2e-6);
      one->mutable_fff()->set_kernel("leaf_walk");
      one->mutable_dense()->set_median_s(4e-6);
      one->mutable_dense()->set_p10_s(3.9e-6);
      one->mutable_dense()->set_p90_s(4.2e-6);
      one->set_speedup(4);
      one->set_distinct_leaves(5);
    }
  }

  absl::Notification& stuck_;
  std::atomic<int> calls_{0};
};

class FakeServer::OpenInference final
    : public inference::GRPCInferenceService::Service {
 public:
  grpc::Status ServerLive(grpc::ServerContext*,
                          const inference::ServerLiveRequest*,
                          inference::ServerLiveResponse* response) override {
    response->set_live(true);
    return grpc::Status::OK;
  }
  grpc::Status ServerReady(grpc::ServerContext*,
                           const inference::ServerReadyRequest*,
                           inference::ServerReadyResponse* response) override {
    response->set_ready(false);
    return grpc::Status::OK;
  }
  grpc::Status ServerMetadata(
      grpc::ServerContext*, const inference::ServerMetadataRequest*,
      inference::ServerMetadataResponse* response) override {
    response->set_name("fake");
    response->set_version("9.9");
    return grpc::Status::OK;
  }
};

FakeServer::FakeServer()
    : inference_(std::make_unique<Inference>(stuck_)),
      open_inference_(std::make_unique<OpenInference>()) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port_);
  builder.RegisterService(inference_.get());
  builder.RegisterService(open_inference_.get());
  server_ = builder.BuildAndStart();
  server_->GetHealthCheckService()->SetServingStatus("asleep", false);
}

FakeServer::~FakeServer() {
  if (!stuck_.HasBeenNotified()) stuck_.Notify();
  server_->Shutdown();
}

std::string FakeServer::target() const {
  return absl::StrCat("127.0.0.1:", port_);
}

int FakeServer::predict_calls() const { return inference_->calls(); }

}  // namespace fff::client

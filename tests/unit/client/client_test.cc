#include "client/cpp/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/cpp/prediction_stream.h"
#include "client/cpp/tensors.h"
#include "tests/unit/client/fake_server.h"

namespace fff::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() : client_(*Client::Connect(server_.target())) {}

  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::vector<float> rows_ = {1, 2, 3, 4, -1, -1, -1, -1};
  Rows two_rows_{rows_.data(), 2, 4};
};

TEST_F(ClientTest, PredictsRows) {
  const auto prediction = client_->Predict("sum", two_rows_);
  ASSERT_TRUE(prediction.ok()) << prediction.status();
  EXPECT_EQ(prediction->model, "sum");
  EXPECT_EQ(prediction->version, 3);
  EXPECT_EQ(prediction->rows, 2);
  EXPECT_EQ(prediction->width, 3);
  EXPECT_THAT(prediction->output, ElementsAre(10, -10, 0, -4, 4, 0));
  EXPECT_EQ(prediction->batch_rows, 2);
  EXPECT_TRUE(prediction->labels.empty());
  EXPECT_TRUE(prediction->routing.empty());
}

TEST_F(ClientTest, AsksTheDenseTwinForRoutingAndLabelsWhenTold) {
  PredictOptions options;
  options.dense = true;
  options.labels = true;
  options.routing = true;
  const auto prediction = client_->Predict("sum", two_rows_, options);
  ASSERT_TRUE(prediction.ok()) << prediction.status();
  EXPECT_FLOAT_EQ(prediction->output[0], -10);
  EXPECT_THAT(prediction->labels, ElementsAre("up", "up"));
  ASSERT_EQ(prediction->routing.size(), 1U);
  EXPECT_EQ(prediction->routing[0].leaf_size(), 2);
}

TEST_F(ClientTest, KeepsTheServersCodeAndMessage) {
  const auto prediction = client_->Predict("other", two_rows_);
  EXPECT_EQ(prediction.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(prediction.status().message(), "no model 'other', there is: sum");
  const auto wide = client_->Predict("sum", {rows_.data(), 1, 8});
  EXPECT_EQ(wide.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_->GetModel("other").status().code(),
            absl::StatusCode::kNotFound);
}

absl::string_view BytesOf(const std::vector<int64_t>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(int64_t)};
}

class NamedInputTest : public ClientTest {
 protected:
  const std::vector<int64_t> id_values_ = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> mask_values_ = {1, 1, 1, 1, 1, 0};
  NamedInput ids_{
      "input_ids", v1::DATA_TYPE_INT64, {2, 3}, BytesOf(id_values_)};
  NamedInput mask_{
      "attention_mask", v1::DATA_TYPE_INT64, {2, 3}, BytesOf(mask_values_)};
};

TEST_F(NamedInputTest, SeveralOfThemMakeOneRequest) {
  const auto prediction = client_->Predict("words", {ids_, mask_});
  ASSERT_TRUE(prediction.ok()) << prediction.status();
  EXPECT_THAT(prediction->shape, ElementsAre(2, 3, 3));
  EXPECT_EQ(prediction->rows, 2);
  EXPECT_EQ(prediction->width, 9);
  EXPECT_THAT(prediction->output, ElementsAre(1, -1, 0, 2, -2, 0, 3, -3, 0, 4,
                                              -4, 0, 5, -5, 0, 0, 0, 0));
}

TEST_F(NamedInputTest, OneWithoutANameIsTheFirstInput) {
  ids_.name.clear();
  const auto prediction = client_->Predict("words", {ids_, mask_});
  ASSERT_TRUE(prediction.ok()) << prediction.status();
  EXPECT_FLOAT_EQ(prediction->output[12], 5);
  EXPECT_FLOAT_EQ(prediction->output[15], 0);
}

TEST_F(NamedInputTest, TravelOnAStreamToo) {
  const auto stream = client_->OpenStream();
  PredictOptions options;
  options.request_id = "a";
  ASSERT_TRUE(stream->Send("words", {ids_}, options).ok());
  options.request_id = "b";
  EXPECT_EQ(stream->Send("words", {ids_, ids_}, options).code(),
            absl::StatusCode::kInvalidArgument);
  const auto answer = stream->Receive();
  ASSERT_TRUE(answer.ok() && answer->has_value()) << answer.status();
  EXPECT_EQ((*answer)->request_id, "a");
  EXPECT_THAT((*answer)->prediction->shape, ElementsAre(2, 3, 3));
}

TEST_F(NamedInputTest, NamesAndTypesAreTheServersToCheck) {
  mask_.name = "mask";
  EXPECT_EQ(client_->Predict("words", {ids_, mask_}).status(),
            absl::InvalidArgumentError("model 'words' has no input 'mask', "
                                       "wanted input_ids or attention_mask"));
  ids_.type = v1::DATA_TYPE_FP64;
  EXPECT_EQ(client_->Predict("words", {ids_}).status(),
            absl::InvalidArgumentError(
                "input_ids: got DATA_TYPE_FP64, wanted DATA_TYPE_INT64"));
}

TEST_F(NamedInputTest, ContradictionsAreRefusedBeforeTheCall) {
  const auto refusal = [&](const std::vector<NamedInput>& inputs) {
    const auto prediction = client_->Predict("words", inputs);
    EXPECT_EQ(prediction.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(prediction.status().message());
  };
  EXPECT_THAT(refusal({}), HasSubstr("got no input"));
  EXPECT_THAT(refusal({ids_, ids_}), HasSubstr("given twice"));
  mask_.shape = {3, 2};
  EXPECT_THAT(refusal({ids_, mask_}),
              HasSubstr("got 3 rows, wanted 2 as in 'input_ids'"));
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{
           {}, {6, 0}, {5}, {-2, -3}, {2, 6}, {int64_t{1} << 62, 4}}) {
    ids_.shape = shape;
    EXPECT_THAT(refusal({ids_}), HasSubstr("got 48 bytes"));
  }
  ids_.shape = {2, 3};
  ids_.type = v1::DATA_TYPE_UNSPECIFIED;
  EXPECT_THAT(refusal({ids_}), HasSubstr("DATA_TYPE_UNSPECIFIED"));
  ids_.type = v1::DATA_TYPE_INT32;
  EXPECT_THAT(refusal({ids_}), HasSubstr("do not fit"));
  EXPECT_EQ(server_.predict_calls(), 0);
}

TEST_F(ClientTest, DeadlinePassesWhileTheServerIsStuck) {
  PredictOptions options;
  options.timeout = absl::Milliseconds(20);
  const auto prediction = client_->Predict("stuck", two_rows_, options);
  EXPECT_EQ(prediction.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, AnswersThatContradictThemselvesAreErrors) {
  const auto prediction = client_->Predict("liar", {rows_.data(), 1, 4});
  EXPECT_EQ(prediction.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(prediction.status().message(), HasSubstr("with 4 bytes"));
}

TEST_F(ClientTest, ListsAndDescribesModels) {
  const auto models = client_->ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(models->models_size(), 4);
  const auto model = client_->GetModel("sum");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->output().labels(1), "down");
}

TEST_F(ClientTest, BenchmarkTellsProgressAndReturnsTheReport) {
  v1::BenchmarkRequest request;
  request.set_model("sum");
  request.add_batch_rows(16);
  std::vector<int> done;
  const auto report =
      client_->Benchmark(request, [&](const v1::BenchmarkProgress& progress) {
        done.push_back(progress.done());
        return true;
      });
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(done, ElementsAre(0, 1));
  EXPECT_EQ(report->cases(0).rows(), 16);
}

TEST_F(ClientTest, BenchmarkIsCancelledWhenTheCallbackSaysNo) {
  v1::BenchmarkRequest request;
  request.set_model("endless");
  int calls = 0;
  const auto report =
      client_->Benchmark(request, [&](const v1::BenchmarkProgress&) {
        ++calls;
        return false;
      });
  EXPECT_EQ(report.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 1);
}

TEST_F(ClientTest, BenchmarkWithoutAReportIsAnError) {
  v1::BenchmarkRequest request;
  request.set_model("silent");
  const auto report = client_->Benchmark(request, nullptr);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInternal);
  request.set_model("other");
  EXPECT_EQ(client_->Benchmark(request, nullptr).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ClientTest, ReadsTheStandardHealthService) {
  const auto whole = client_->CheckHealth();
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(*whole, Health::kServing);
  EXPECT_EQ(*client_->CheckHealth("asleep"), Health::kNotServing);
  EXPECT_EQ(client_->CheckHealth("nobody").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ClientTest, ReadsLivenessReadinessAndMetadata) {
  EXPECT_TRUE(*client_->ServerLive());
  EXPECT_FALSE(*client_->ServerReady());
  const auto info = client_->ServerMetadata();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->name, "fake");
  EXPECT_EQ(info->version, "9.9");
}

TEST(ConnectTest, ServerThatIsNotThereIsUnavailableAtTheFirstCall) {
  // An abstract socket that nobody listens on: no port is touched.
  const auto client = Client::Connect("unix-abstract:fff-nobody-listens");
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ((*client)->ListModels().status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ((*client)->CheckHealth().status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(ConnectTest, EmptyTargetsAndHalfCertificatesAreRefused) {
  EXPECT_EQ(Client::Connect("").status().code(),
            absl::StatusCode::kInvalidArgument);
  ConnectOptions options;
  options.tls = true;
  options.certificate_pem = "one half";
  EXPECT_EQ(Client::Connect("x:1", options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

v1::PredictResponse Response(const std::vector<int64_t>& shape, size_t bytes) {
  v1::PredictResponse response;
  for (const int64_t size : shape) {
    response.mutable_output()->add_shape(size);
  }
  response.mutable_output()->set_datatype(v1::DATA_TYPE_FP32);
  response.mutable_output()->set_data(std::string(bytes, '\0'));
  return response;
}

TEST(DecodePredictionTest, FlattensTheOutputShapeToOneWidth) {
  const auto prediction = DecodePrediction(Response({2, 3, 2}, 48), 2);
  ASSERT_TRUE(prediction.ok()) << prediction.status();
  EXPECT_EQ(prediction->width, 6);
  EXPECT_THAT(prediction->shape, ElementsAre(2, 3, 2));
}

TEST(DecodePredictionTest, RefusesShapesThatDoNotFit) {
  const auto code = [](const std::vector<int64_t>& shape, size_t bytes) {
    return DecodePrediction(Response(shape, bytes), 2).status().code();
  };
  constexpr auto kInternal = absl::StatusCode::kInternal;
  EXPECT_EQ(code({}, 8), kInternal);
  EXPECT_EQ(code({3, 2}, 24), kInternal);
  EXPECT_EQ(code({2, 2}, 15), kInternal);
  EXPECT_EQ(code({2, 2}, 17), kInternal);
  EXPECT_EQ(code({2, -1}, 8), kInternal);
  EXPECT_EQ(code({2, 0}, 0), kInternal);
  EXPECT_EQ(code({2, int64_t{1} << 62, 4}, 16), kInternal);
  v1::PredictResponse untyped = Response({2, 1}, 8);
  untyped.mutable_output()->clear_datatype();
  EXPECT_EQ(DecodePrediction(untyped, 2).status().code(), kInternal);
  v1::PredictResponse labelled = Response({2, 1}, 8);
  labelled.add_labels("one of two");
  EXPECT_EQ(DecodePrediction(labelled, 2).status().code(), kInternal);
}

void AddOutput(const std::string& name, const std::vector<int64_t>& shape,
               size_t bytes, v1::PredictResponse& response) {
  v1::NamedTensor& named = *response.add_outputs();
  named.set_name(name);
  *named.mutable_tensor() = Response(shape, bytes).output();
}

TEST(DecodePredictionTest, HoldsTheOtherOutputsByName) {
  v1::PredictResponse response = Response({2, 3}, 24);
  AddOutput("hidden", {2, 4, 2}, 64, response);
  const auto both = DecodePrediction(response, 2);
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(both->width, 3);
  ASSERT_EQ(both->others.size(), 1u);
  EXPECT_EQ(both->others[0].name, "hidden");
  EXPECT_EQ(both->others[0].width, 8);
  EXPECT_THAT(both->others[0].shape, ElementsAre(2, 4, 2));
  EXPECT_EQ(both->others[0].values.size(), 16u);
  // A request may name others alone.
  v1::PredictResponse alone;
  alone.mutable_output();
  AddOutput("hidden", {2, 1}, 8, alone);
  const auto one = DecodePrediction(alone, 2);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->width, 0);
  EXPECT_TRUE(one->output.empty());
  AddOutput("other", {3, 1}, 12, alone);
  EXPECT_EQ(DecodePrediction(alone, 2).status().code(),
            absl::StatusCode::kInternal);
}

TEST(EncodeRequestTest, NamesTheOutputsThatAreWanted) {
  const std::vector<float> values = {1, 2};
  PredictOptions options;
  options.outputs = {"hidden", "kind"};
  EXPECT_THAT(EncodeRequest("m", Rows{values.data(), 1, 2}, options).outputs(),
              ElementsAre("hidden", "kind"));
}

TEST(EncodeRowsTest, WritesShapeAndLittleEndianFloats) {
  const std::vector<float> values = {1, 2};
  const v1::Tensor tensor = EncodeRows({values.data(), 1, 2});
  EXPECT_THAT(tensor.shape(), ElementsAre(1, 2));
  EXPECT_EQ(tensor.datatype(), v1::DATA_TYPE_FP32);
  EXPECT_EQ(tensor.data(), std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  EXPECT_THAT(EncodeRows({values.data(), 1, 2}, {2, 1}).shape(),
              ElementsAre(1, 2, 1));
}

}  // namespace
}  // namespace fff::client

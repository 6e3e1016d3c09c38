#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/execution_context.h"
#include "server/rpc/messages/encode.h"
#include "tests/unit/rpc/grpc_fixture.h"

// Predict, PredictDense and ModelInfer through a server: what comes back is
// what the model computes, bit for bit, and every refusal has its code and
// message.
namespace fff::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class InferenceCallsTest : public GrpcServerTest {
 protected:
  void SetUp() override { StartServer(); }

  grpc::Status Predict(const v1::PredictRequest& request,
                       v1::PredictResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::PredictResponse ignored;
    return stub_->Predict(&context, request,
                          response == nullptr ? &ignored : response);
  }
  grpc::Status PredictDense(const v1::PredictRequest& request,
                            v1::PredictResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::PredictResponse ignored;
    return stub_->PredictDense(&context, request,
                               response == nullptr ? &ignored : response);
  }
  grpc::Status ModelInfer(const inference::ModelInferRequest& request,
                          inference::ModelInferResponse* response = nullptr) {
    grpc::ClientContext context;
    inference::ModelInferResponse ignored;
    return open_stub_->ModelInfer(&context, request,
                                  response == nullptr ? &ignored : response);
  }

  void ExpectError(const grpc::Status& status, grpc::StatusCode code,
                   const std::string& message) {
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), message);
  }

  // Requests of `name` with `method` that ended with `code`.
  uint64_t Count(const std::string& name, metrics::Method method,
                 grpc::StatusCode code) {
    return Servable(name)
        ->metrics()
        .requests[static_cast<size_t>(method)][static_cast<size_t>(code)]
        .Value();
  }
};

TEST_F(InferenceCallsTest, PredictAnswersWhatTheModelComputes) {
  for (const int64_t rows : {1, 2, 17}) {
    const std::vector<float> x = Rows(rows, kLeafIn);
    v1::PredictResponse response;
    ASSERT_TRUE(Predict(PredictRequest("leaf", x, kLeafIn), &response).ok());
    EXPECT_EQ(response.output().data(), Bytes(Direct("leaf", x)));
    EXPECT_THAT(response.output().shape(), ElementsAre(rows, kLeafOut));
    EXPECT_EQ(response.model(), "leaf");
    EXPECT_EQ(response.version(), 1);
    EXPECT_EQ(response.implementation(), v1::IMPLEMENTATION_FFF);
    EXPECT_EQ(response.timing().batch_rows(), rows);
    EXPECT_EQ(response.routing_size(), 0);
    EXPECT_EQ(response.labels_size(), 0);
  }
}

TEST_F(InferenceCallsTest, PredictTakesOneRowWithoutABatchDimension) {
  const std::vector<float> x = Rows(1, kPathIn);
  v1::PredictRequest request = PredictRequest("path", x, kPathIn);
  request.mutable_input()->clear_shape();
  request.mutable_input()->add_shape(kPathIn);
  v1::PredictResponse response;
  ASSERT_TRUE(Predict(request, &response).ok());
  EXPECT_THAT(response.output().shape(), ElementsAre(1, kPathIn));
  EXPECT_EQ(response.output().data(), Bytes(Direct("path", x)));
}

TEST_F(InferenceCallsTest, TheTwinIsReachedByItsCallAndByItsName) {
  const std::vector<float> x = Rows(3, kLeafIn);
  const std::string wanted = Bytes(Direct("leaf:dense", x));
  v1::PredictResponse by_call;
  ASSERT_TRUE(PredictDense(PredictRequest("leaf", x, kLeafIn), &by_call).ok());
  v1::PredictResponse by_name;
  ASSERT_TRUE(Predict(PredictRequest("leaf:dense", x, kLeafIn), &by_name).ok());
  v1::PredictResponse by_both;
  ASSERT_TRUE(
      PredictDense(PredictRequest("leaf:dense", x, kLeafIn), &by_both).ok());
  for (const auto* response : {&by_call, &by_name, &by_both}) {
    EXPECT_EQ(response->output().data(), wanted);
    EXPECT_EQ(response->implementation(), v1::IMPLEMENTATION_DENSE);
    EXPECT_EQ(response->model(), "leaf");
  }
  EXPECT_NE(wanted, Bytes(Direct("leaf", x)));
}

TEST_F(InferenceCallsTest, ModelInferAnswersWhatTheModelComputes) {
  const std::vector<float> x = Rows(5, kPathIn);
  inference::ModelInferRequest request = InferRequest("path", x, kPathIn);
  request.set_id("call 1");
  request.add_outputs()->set_name("output");
  inference::ModelInferResponse response;
  ASSERT_TRUE(ModelInfer(request, &response).ok());
  EXPECT_EQ(response.model_name(), "path");
  EXPECT_EQ(response.model_version(), "1");
  EXPECT_EQ(response.id(), "call 1");
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(5, kPathIn));
  ASSERT_EQ(response.raw_output_contents_size(), 1);
  EXPECT_EQ(response.raw_output_contents(0), Bytes(Direct("path", x)));
}

TEST_F(InferenceCallsTest, ModelInferTakesTypedContentsAndVersions) {
  const std::vector<float> x = Rows(2, kPathIn);
  inference::ModelInferRequest request = InferRequest("path:dense", x, kPathIn);
  request.clear_raw_input_contents();
  request.mutable_inputs(0)->mutable_contents()->mutable_fp32_contents()->Add(
      x.begin(), x.end());
  request.set_model_version("1");
  inference::ModelInferResponse response;
  ASSERT_TRUE(ModelInfer(request, &response).ok());
  EXPECT_EQ(response.model_name(), "path:dense");
  EXPECT_EQ(response.raw_output_contents(0), Bytes(Direct("path:dense", x)));
}

TEST_F(InferenceCallsTest, RoutingIsWhatTheModelReports) {
  for (const std::string model : {"leaf", "path"}) {
    const auto servable = Servable(model);
    const int64_t width = servable->model().input().width();
    const std::vector<float> x = Rows(4, width);
    v1::PredictRequest request = PredictRequest(model, x, width);
    request.set_include_routing(true);
    v1::PredictResponse response;
    ASSERT_TRUE(Predict(request, &response).ok());
    model::Routes direct;
    direct.Prepare(servable->model(), 4, /*margins=*/true);
    std::vector<float> y(
        static_cast<size_t>(4 * servable->model().output().width()));
    engine::ExecutionContext context(1);
    servable->model().Run(
        engine::RowsBatch({x.data(), 4, width},
                          {y.data(), 4, servable->model().output().width()},
                          direct.sinks()),
        context);
    ASSERT_EQ(response.routing_size(), 1);
    const v1::LayerRouting& routing = response.routing(0);
    EXPECT_THAT(routing.leaf(), ElementsAreArray(direct.leaves(0)));
    EXPECT_THAT(routing.margin(), ElementsAreArray(direct.margins(0)));
    EXPECT_EQ(routing.trees(), model == "path" ? 3 : 1);
    EXPECT_EQ(routing.depth(), 4);
    EXPECT_EQ(routing.margins_per_tree(), model == "path" ? 5 : 4);
  }
}

TEST_F(InferenceCallsTest, LabelsNameTheStrongestColumn) {
  const std::vector<float> x = Rows(3, kLeafIn);
  v1::PredictRequest request = PredictRequest("leaf", x, kLeafIn);
  request.set_include_labels(true);
  v1::PredictResponse response;
  ASSERT_TRUE(Predict(request, &response).ok());
  ASSERT_EQ(response.labels_size(), 3);
  const std::vector<float> y = Direct("leaf", x);
  for (int r = 0; r < 3; ++r) {
    const auto row = y.begin() + r * kLeafOut;
    const auto best = std::max_element(row, row + kLeafOut) - row;
    EXPECT_EQ(response.labels(r),
              std::string(1, static_cast<char>('a' + best)));
  }
}

// Call slots are reused: nothing of one request may show in the next.
TEST_F(InferenceCallsTest, RequestsOfAllSizesFollowEachOther) {
  int64_t seed = 0;
  for (const int64_t rows : {1, 700, 1, 90, 2, 1500, 3}) {
    const std::vector<float> x = Rows(rows, kPathIn, static_cast<int>(++seed));
    v1::PredictRequest request = PredictRequest("path", x, kPathIn);
    request.set_include_routing(rows % 2 == 0);
    v1::PredictResponse response;
    ASSERT_TRUE(Predict(request, &response).ok());
    EXPECT_EQ(response.output().data(), Bytes(Direct("path", x)));
    EXPECT_EQ(response.routing_size(), rows % 2 == 0 ? 1 : 0);
    inference::ModelInferResponse infer;
    ASSERT_TRUE(ModelInfer(InferRequest("path", x, kPathIn), &infer).ok());
    ASSERT_EQ(infer.raw_output_contents_size(), 1);
    EXPECT_EQ(infer.raw_output_contents(0), response.output().data());
  }
}

TEST_F(InferenceCallsTest, ConcurrentCallsGetTheirOwnAnswers) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 25; ++i) {
        const std::vector<float> x = Rows(1 + i % 3, kPathIn, t * 100 + i);
        v1::PredictRequest request = PredictRequest("path", x, kPathIn);
        request.set_request_id(absl::StrCat(t, "/", i));
        v1::PredictResponse response;
        const grpc::Status status = Predict(request, &response);
        ASSERT_TRUE(status.ok()) << status.error_message();
        EXPECT_EQ(response.request_id(), request.request_id());
        // Rows of other calls may share the batch, so a kernel for another
        // batch size may have run: equal up to rounding.
        const std::vector<float> got = Floats(response.output().data());
        const std::vector<float> wanted = Direct("path", x);
        ASSERT_EQ(got.size(), wanted.size());
        for (size_t k = 0; k < got.size(); ++k) {
          EXPECT_NEAR(got[k], wanted[k], 1e-4);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Count("path", metrics::Method::kPredict, grpc::StatusCode::OK),
            200u);
  EXPECT_EQ(Servable("path")->metrics().inflight.Value(), 0);
  EXPECT_EQ(Servable("path")->metrics().queue_rows.Value(), 0);
}

TEST_F(InferenceCallsTest, UnknownModelsAndVersionsAreNotFound) {
  const std::vector<float> x = Rows(1, kLeafIn);
  const std::string message =
      "model 'nope' is not in the repository; it has: 'leaf', 'path'";
  ExpectError(Predict(PredictRequest("nope", x, kLeafIn)),
              grpc::StatusCode::NOT_FOUND, message);
  ExpectError(ModelInfer(InferRequest("nope", x, kLeafIn)),
              grpc::StatusCode::NOT_FOUND, message);
  ExpectError(PredictDense(PredictRequest("nope", x, kLeafIn)),
              grpc::StatusCode::NOT_FOUND,
              "model 'nope:dense' is not in the repository; it has: 'leaf', "
              "'path'");
  v1::PredictRequest request = PredictRequest("leaf", x, kLeafIn);
  request.set_version(9);
  ExpectError(Predict(request), grpc::StatusCode::NOT_FOUND,
              "model 'leaf' has no version 9; it has: '1'");
  request.set_version(-1);
  ExpectError(Predict(request), grpc::StatusCode::INVALID_ARGUMENT,
              "got version -1, wanted 0 (the default) or above");
}

TEST_F(InferenceCallsTest, UnknownModelsShareOneSeries) {
  const std::vector<float> x = Rows(1, kLeafIn);
  for (const char* name : {"nope", "neither", ""}) {
    EXPECT_FALSE(Predict(PredictRequest(name, x, kLeafIn)).ok());
  }
  EXPECT_EQ(metrics_.unknown_model().requests[0][5].Value(), 3u);
  EXPECT_EQ(metrics_.TakeSnapshot().served.size(), 5u);
}

TEST_F(InferenceCallsTest, MalformedVersionsOfTheProtocolAreRefused) {
  inference::ModelInferRequest request =
      InferRequest("leaf", Rows(1, kLeafIn), kLeafIn);
  request.set_model_version("latest");
  ExpectError(ModelInfer(request), grpc::StatusCode::INVALID_ARGUMENT,
              "got model version 'latest', wanted a positive decimal number "
              "or nothing");
}

TEST_F(InferenceCallsTest, BadInputIsRefusedWithTheModelsName) {
  ExpectError(Predict(PredictRequest("leaf", Rows(2, 4), 4)),
              grpc::StatusCode::INVALID_ARGUMENT,
              "model 'leaf' version 1: input 'input': got shape [2, 4], wanted "
              "[rows, 784]");
  std::vector<float> poisoned = Rows(1, kPathIn);
  poisoned[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(PredictDense(PredictRequest("path", poisoned, kPathIn)).ok());
  EXPECT_EQ(Servable("path:dense")->metrics().non_finite_rows.Value(), 1u);
  ExpectError(PredictDense(PredictRequest("path", Rows(1, 4), 4)),
              grpc::StatusCode::INVALID_ARGUMENT,
              "model 'path:dense' version 1: input 'input': got shape [1, 4], "
              "wanted [rows, 96]");
  inference::ModelInferRequest mixed =
      InferRequest("path", Rows(1, kPathIn), kPathIn);
  mixed.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  ExpectError(ModelInfer(mixed), grpc::StatusCode::INVALID_ARGUMENT,
              "model 'path' version 1: input 'input': got both contents and "
              "raw_input_contents, wanted one of them");
  // It goes on serving, and counted the refusals where they belong.
  EXPECT_TRUE(Predict(PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn)).ok());
  EXPECT_EQ(Count("leaf", metrics::Method::kPredict,
                  grpc::StatusCode::INVALID_ARGUMENT),
            1u);
  EXPECT_EQ(Count("path:dense", metrics::Method::kPredictDense,
                  grpc::StatusCode::INVALID_ARGUMENT),
            1u);
  EXPECT_EQ(Servable("leaf")->metrics().inflight.Value(), 0);
}

TEST_F(InferenceCallsTest, AFullQueueRefusesAtOnce) {
  BusyWorker busy(&scheduler_);
  std::thread waiting([this] {
    EXPECT_TRUE(
        Predict(PredictRequest("leaf", Rows(99, kLeafIn), kLeafIn)).ok());
  });
  AwaitQueuedRows("leaf", 99);
  ExpectError(Predict(PredictRequest("leaf", Rows(2, kLeafIn), kLeafIn)),
              grpc::StatusCode::RESOURCE_EXHAUSTED,
              "model 'leaf' version 1: the queue is full: 99 rows wait, the "
              "request has 2, max_queue_rows is 100; retry later");
  busy.Open();
  waiting.join();
}

TEST_F(InferenceCallsTest, ACancelledCallIsDroppedFromTheQueue) {
  BusyWorker busy(&scheduler_);
  grpc::ClientContext context;
  std::thread caller([&] {
    v1::PredictResponse response;
    const grpc::Status status = stub_->Predict(
        &context, PredictRequest("path", Rows(1, kPathIn), kPathIn), &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  });
  AwaitQueuedRows("path", 1);
  context.TryCancel();
  caller.join();
  // Later calls of the same connection and queue come after the cancellation.
  for (int i = 0; i < 50; ++i) {
    EXPECT_FALSE(Predict(PredictRequest("nope", {1}, 1)).ok());
  }
  busy.Open();
  EXPECT_TRUE(Predict(PredictRequest("path", Rows(2, kPathIn), kPathIn)).ok());
  EXPECT_EQ(Servable("path")->metrics().rows.Value(), 2u);
  EXPECT_EQ(
      Count("path", metrics::Method::kPredict, grpc::StatusCode::CANCELLED),
      1u);
}

TEST_F(InferenceCallsTest, ACallIsAnsweredWhenItsDeadlinePasses) {
  BusyWorker busy(&scheduler_);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(50));
  v1::PredictResponse response;
  EXPECT_EQ(
      stub_
          ->Predict(&context, PredictRequest("path", Rows(1, kPathIn), kPathIn),
                    &response)
          .error_code(),
      grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(InferenceCallsTest, TheProtocolsTimeoutIsADeadline) {
  BusyWorker busy(&scheduler_);
  inference::ModelInferRequest request =
      InferRequest("path", Rows(1, kPathIn), kPathIn);
  (*request.mutable_parameters())["timeout"].set_int64_param(1);
  std::thread caller([&] {
    const grpc::Status status = ModelInfer(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_THAT(status.error_message(), HasSubstr("model 'path' version 1"));
    EXPECT_THAT(status.error_message(), HasSubstr("nothing was computed"));
  });
  // It is refused on arrival, or waits longer than its microsecond.
  const metrics::ModelMetrics& metrics = Servable("path")->metrics();
  while (metrics.queue_rows.Value() == 0 &&
         Count("path", metrics::Method::kModelInfer,
               grpc::StatusCode::DEADLINE_EXCEEDED) == 0) {
    std::this_thread::yield();
  }
  const auto arrived = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() <
         arrived + std::chrono::microseconds(2)) {
  }
  busy.Open();
  caller.join();
  EXPECT_EQ(metrics.rows.Value(), 0u);
}

TEST_F(InferenceCallsTest, AMalformedTimeoutIsRefused) {
  inference::ModelInferRequest request =
      InferRequest("path", Rows(1, kPathIn), kPathIn);
  (*request.mutable_parameters())["timeout"].set_string_param("soon");
  const grpc::Status status = ModelInfer(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("parameter 'timeout'"));
  EXPECT_EQ(Servable("path")->metrics().inflight.Value(), 0);
}

TEST_F(InferenceCallsTest, RecordsTheTimeOfEveryRequest) {
  ASSERT_TRUE(Predict(PredictRequest("leaf", Rows(1, kLeafIn), kLeafIn)).ok());
  const metrics::ModelMetrics& metrics = Servable("leaf")->metrics();
  EXPECT_EQ(metrics.request_duration[0].Snapshot().count, 1u);
  EXPECT_GT(metrics.request_duration[0].Snapshot().sum, 0u);
  EXPECT_EQ(metrics.queue_duration.Snapshot().count, 1u);
  EXPECT_EQ(metrics.compute_duration.Snapshot().count, 1u);
  EXPECT_GT(metrics.success_ns.Value(), 0u);
  EXPECT_GT(metrics.last_inference_ms.load(), 1'500'000'000'000);
  uint64_t visits = 0;
  const metrics::LeafVisits& of_layer =
      Servable("leaf")->parts().leaf_visits->front();
  for (size_t b = 0; b < of_layer.buckets(); ++b) visits += of_layer.Value(b);
  EXPECT_EQ(visits, 1u);
}

}  // namespace
}  // namespace fff::rpc

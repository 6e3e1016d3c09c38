#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/unit/rpc/grpc_fixture.h"

// The calls beside inference, of both APIs, through a server.
namespace fff::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class ManagementCallsTest : public GrpcServerTest {
 protected:
  grpc::ClientContext& Context() {
    context_ = std::make_unique<grpc::ClientContext>();
    return *context_;
  }
  std::unique_ptr<grpc::ClientContext> context_;
};

TEST_F(ManagementCallsTest, ListModelsNamesEveryModelAndTwin) {
  repository_.AddFile("broken/1/model.safetensors", "garbage");
  ASSERT_TRUE(models_.LoadAll().ok());
  server_ = std::make_unique<GrpcServer>(LocalOptions(), &models_, &scheduler_,
                                         &metrics_);
  ASSERT_TRUE(server_->Start().ok());
  stub_ = v1::InferenceService::NewStub(Connect());
  v1::ListModelsResponse response;
  ASSERT_TRUE(stub_->ListModels(&Context(), {}, &response).ok());
  std::vector<std::string> lines;
  for (const v1::ModelSummary& summary : response.models()) {
    lines.push_back(absl::StrCat(summary.name(), "/", summary.version(), " ",
                                 v1::ModelState_Name(summary.state())));
  }
  EXPECT_THAT(lines, ElementsAre("broken/1 MODEL_STATE_FAILED",
                                 "broken:dense/1 MODEL_STATE_FAILED",
                                 "leaf/1 MODEL_STATE_READY",
                                 "leaf:dense/1 MODEL_STATE_READY",
                                 "path/1 MODEL_STATE_READY",
                                 "path:dense/1 MODEL_STATE_READY"));
}

TEST_F(ManagementCallsTest, GetModelDescribesOneInFull) {
  StartServer();
  v1::GetModelRequest request;
  request.set_model("leaf");
  v1::GetModelResponse response;
  ASSERT_TRUE(stub_->GetModel(&Context(), request, &response).ok());
  EXPECT_EQ(response.summary().name(), "leaf");
  EXPECT_THAT(response.input().shape(), ElementsAre(kLeafIn));
  EXPECT_EQ(response.output().labels_size(), kLeafOut);
  ASSERT_EQ(response.layers_size(), 1);
  ASSERT_GT(response.layers(0).kernels_size(), 0);
  EXPECT_EQ(response.layers(0).kernels(0).rows_min(), 1);
  EXPECT_NE(response.layers(0).kernels(0).kernel(), "");
  EXPECT_GT(response.flops_per_row(), 0);
  EXPECT_EQ(response.dense_kind(), v1::DENSE_KIND_COST_BASELINE);
}

TEST_F(ManagementCallsTest, GetModelOfAnUnknownOneIsNotFound) {
  StartServer();
  v1::GetModelRequest request;
  request.set_model("nope");
  v1::GetModelResponse response;
  const grpc::Status status = stub_->GetModel(&Context(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(),
            "model 'nope' is not in the repository; it has: 'leaf', 'path'");
}

TEST_F(ManagementCallsTest, LiveReadyAndModelReady) {
  StartServer();
  inference::ServerLiveResponse live;
  ASSERT_TRUE(open_stub_->ServerLive(&Context(), {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(open_stub_->ServerReady(&Context(), {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  server_->SetServing(false);  // draining
  ASSERT_TRUE(open_stub_->ServerReady(&Context(), {}, &ready).ok());
  EXPECT_FALSE(ready.ready());
  ASSERT_TRUE(open_stub_->ServerLive(&Context(), {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ModelReadyRequest request;
  request.set_name("leaf:dense");
  inference::ModelReadyResponse model_ready;
  ASSERT_TRUE(open_stub_->ModelReady(&Context(), request, &model_ready).ok());
  EXPECT_TRUE(model_ready.ready());
  request.set_name("nope");
  EXPECT_EQ(
      open_stub_->ModelReady(&Context(), request, &model_ready).error_code(),
      grpc::StatusCode::NOT_FOUND);
  request.set_name("leaf");
  request.set_version("1 ");
  EXPECT_EQ(
      open_stub_->ModelReady(&Context(), request, &model_ready).error_code(),
      grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ManagementCallsTest, AModelThatFailedIsKnownAndNotReady) {
  repository_.AddFile("broken/1/model.safetensors", "garbage");
  ASSERT_TRUE(models_.LoadAll().ok());
  server_ = std::make_unique<GrpcServer>(LocalOptions(), &models_, &scheduler_,
                                         &metrics_);
  ASSERT_TRUE(server_->Start().ok());
  server_->SetServing(true);
  const auto channel = Connect();
  open_stub_ = inference::GRPCInferenceService::NewStub(channel);
  inference::ModelReadyRequest request;
  request.set_name("broken");
  inference::ModelReadyResponse response;
  ASSERT_TRUE(open_stub_->ModelReady(&Context(), request, &response).ok());
  EXPECT_FALSE(response.ready());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(open_stub_->ServerReady(&Context(), {}, &ready).ok());
  EXPECT_FALSE(ready.ready());
  stub_ = v1::InferenceService::NewStub(channel);
  v1::PredictResponse predicted;
  const grpc::Status status =
      stub_->Predict(&Context(), PredictRequest("broken", {1}, 1), &predicted);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(),
              HasSubstr("model 'broken' could not be loaded: "));
}

TEST_F(ManagementCallsTest, ServerMetadataNamesWhatIsReal) {
  StartServer();
  inference::ServerMetadataResponse response;
  ASSERT_TRUE(open_stub_->ServerMetadata(&Context(), {}, &response).ok());
  EXPECT_EQ(response.name(), "fff-server");
  EXPECT_NE(response.version(), "");
  EXPECT_THAT(
      response.extensions(),
      UnorderedElementsAre("model_configuration", "statistics", "parameters",
                           "binary_tensor_data", "model_repository"));
}

TEST_F(ManagementCallsTest, MetadataAndConfigAgreeOnNames) {
  StartServer();
  inference::ModelMetadataRequest request;
  request.set_name("leaf");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(open_stub_->ModelMetadata(&Context(), request, &metadata).ok());
  EXPECT_THAT(metadata.inputs(0).shape(), ElementsAre(-1, kLeafIn));
  EXPECT_THAT(metadata.versions(), ElementsAre("1"));
  inference::ModelConfigRequest config_request;
  config_request.set_name("leaf");
  inference::ModelConfigResponse config;
  ASSERT_TRUE(
      open_stub_->ModelConfig(&Context(), config_request, &config).ok());
  ASSERT_TRUE(config.has_config());
  EXPECT_EQ(config.config().input(0).name(), metadata.inputs(0).name());
  EXPECT_EQ(config.config().output(0).name(), metadata.outputs(0).name());
  EXPECT_GT(config.config().max_batch_size(), 0);
  request.set_name("nope");
  EXPECT_EQ(
      open_stub_->ModelMetadata(&Context(), request, &metadata).error_code(),
      grpc::StatusCode::NOT_FOUND);
  config_request.set_version("0");
  EXPECT_EQ(
      open_stub_->ModelConfig(&Context(), config_request, &config).error_code(),
      grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ManagementCallsTest, StatisticsOfOneModelOrOfAll) {
  StartServer();
  inference::ModelInferResponse inferred;
  ASSERT_TRUE(open_stub_
                  ->ModelInfer(&Context(),
                               InferRequest("path", Rows(3, kPathIn), kPathIn),
                               &inferred)
                  .ok());
  inference::ModelStatisticsRequest request;
  request.set_name("path");
  inference::ModelStatisticsResponse one;
  ASSERT_TRUE(open_stub_->ModelStatistics(&Context(), request, &one).ok());
  ASSERT_EQ(one.model_stats_size(), 1);
  EXPECT_EQ(one.model_stats(0).inference_count(), 3u);
  EXPECT_EQ(one.model_stats(0).execution_count(), 1u);
  EXPECT_EQ(one.model_stats(0).inference_stats().success().count(), 1u);
  EXPECT_EQ(one.model_stats(0).inference_stats().queue().count(), 1u);
  inference::ModelStatisticsResponse all;
  ASSERT_TRUE(open_stub_->ModelStatistics(&Context(), {}, &all).ok());
  std::vector<std::string> names;
  for (const auto& statistics : all.model_stats()) {
    names.push_back(statistics.name());
  }
  EXPECT_THAT(names, ElementsAre("leaf", "leaf:dense", "path", "path:dense"));
  request.set_name("nope");
  EXPECT_EQ(open_stub_->ModelStatistics(&Context(), request, &one).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(ManagementCallsTest, IndexListsTheRepository) {
  StartServer();
  inference::RepositoryIndexRequest request;
  inference::RepositoryIndexResponse response;
  ASSERT_TRUE(open_stub_->RepositoryIndex(&Context(), request, &response).ok());
  EXPECT_EQ(response.models_size(), 4);
  EXPECT_EQ(response.models(0).state(), "READY");
  request.set_repository_name("other");
  const grpc::Status status =
      open_stub_->RepositoryIndex(&Context(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(),
            "got a repository_name, wanted none: the server has one "
            "repository");
}

TEST_F(ManagementCallsTest, ACallTheServerDoesNotHaveIsUnimplemented) {
  StartServer();
  std::string response;
  EXPECT_EQ(
      CallBytes("/inference.GRPCInferenceService/TraceSetting", "", response)
          .error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace fff::rpc

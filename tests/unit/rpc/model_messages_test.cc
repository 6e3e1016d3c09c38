#include "server/rpc/messages/model_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::rpc {
namespace {

using serving::DoublingLayer;
using serving::Implementation;
using serving::Servable;
using serving::VersionState;
using serving::VersionStatus;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A servable of a 2x3 input and six labelled outputs.
std::shared_ptr<const Servable> Make(Implementation implementation,
                                     int64_t version = 2,
                                     bool dense_is_trained = false) {
  DoublingLayer::Options layer;
  layer.width = 6;
  layer.name = "doubling 6 -> 6";
  if (implementation == Implementation::kFff) {
    layer.routing = {graph::RoutingShape::Family::kLeaf, 1, 2, 2};
  }
  DoublingLayer::Options second = layer;
  second.name = "again";
  serving::ModelOptions more;
  more.input = serving::PortOf("pixels", {2, 3});
  more.output = serving::PortOf("scores", {6}, {"a", "b", "c", "d", "e", "f"});
  Servable::Parts parts;
  parts.model_name = "m";
  parts.version = version;
  parts.implementation = implementation;
  parts.model = serving::MakeModel({layer, second}, std::move(more));
  parts.dense_is_trained = dense_is_trained;
  parts.dense_description = "all neurons, evaluated densely";
  parts.checkpoint_file = "model.pt";
  parts.device = "cpu";
  parts.load_seconds = 0.5;
  parts.batching = {256, 1500, 4096};
  parts.metrics = std::make_shared<metrics::ModelMetrics>(
      metrics::ModelLabels{"m", "2", "fff", "cpu"});
  return std::make_shared<const Servable>(std::move(parts));
}

VersionStatus Ready(int64_t version, bool is_default) {
  VersionStatus status;
  status.model_name = "m";
  status.version = version;
  status.state = VersionState::kReady;
  status.is_default = is_default;
  status.fff = Make(Implementation::kFff, version);
  status.dense = Make(Implementation::kDense, version);
  return status;
}

VersionStatus Failed(int64_t version) {
  VersionStatus status;
  status.model_name = "m";
  status.version = version;
  status.state = VersionState::kFailed;
  status.reason = "the file is cut short";
  return status;
}

TEST(AppendSummaries, ListsAVersionAndItsTwin) {
  v1::ListModelsResponse response;
  AppendSummaries(Ready(2, true), response);
  ASSERT_EQ(response.models_size(), 2);
  const v1::ModelSummary& fff = response.models(0);
  EXPECT_EQ(fff.name(), "m");
  EXPECT_EQ(fff.version(), 2);
  EXPECT_EQ(fff.state(), v1::MODEL_STATE_READY);
  EXPECT_EQ(fff.reason(), "");
  EXPECT_TRUE(fff.is_default_version());
  EXPECT_EQ(fff.implementation(), v1::IMPLEMENTATION_FFF);
  EXPECT_EQ(fff.description(), "doubling 6 -> 6 | again");
  const v1::ModelSummary& dense = response.models(1);
  EXPECT_EQ(dense.name(), "m:dense");
  EXPECT_EQ(dense.implementation(), v1::IMPLEMENTATION_DENSE);
  EXPECT_EQ(dense.description(), "all neurons, evaluated densely");
}

TEST(AppendSummaries, SaysWhyAVersionFailed) {
  v1::ListModelsResponse response;
  AppendSummaries(Failed(3), response);
  for (const v1::ModelSummary& summary : response.models()) {
    EXPECT_EQ(summary.state(), v1::MODEL_STATE_FAILED);
    EXPECT_EQ(summary.reason(), "the file is cut short");
    EXPECT_FALSE(summary.is_default_version());
    EXPECT_EQ(summary.description(), "");
  }
}

TEST(AppendSummaries, ListsAVersionThatIsLoading) {
  VersionStatus status = Failed(3);
  status.state = VersionState::kLoading;
  v1::ListModelsResponse response;
  AppendSummaries(status, response);
  EXPECT_EQ(response.models(0).state(), v1::MODEL_STATE_LOADING);
}

TEST(DescribeModel, TellsEverythingOfTheVersionAskedFor) {
  const std::vector<VersionStatus> siblings = {Ready(1, false), Ready(2, true),
                                               Failed(3)};
  const v1::GetModelResponse response =
      DescribeModel(*siblings[1].fff, siblings);
  EXPECT_EQ(response.summary().name(), "m");
  EXPECT_EQ(response.summary().version(), 2);
  EXPECT_TRUE(response.summary().is_default_version());
  EXPECT_THAT(response.versions(), ElementsAre(1, 2, 3));
  EXPECT_EQ(response.input().name(), "pixels");
  EXPECT_EQ(response.input().datatype(), v1::DATA_TYPE_FP32);
  EXPECT_THAT(response.input().shape(), ElementsAre(2, 3));
  EXPECT_EQ(response.output().name(), "scores");
  EXPECT_THAT(response.output().shape(), ElementsAre(6));
  EXPECT_THAT(response.output().labels(),
              ElementsAre("a", "b", "c", "d", "e", "f"));
  ASSERT_EQ(response.layers_size(), 2);
  EXPECT_EQ(response.layers(0).type(), "fff");
  EXPECT_EQ(response.layers(0).description(), "doubling 6 -> 6");
  EXPECT_EQ(response.layers(0).input_width(), 6);
  EXPECT_EQ(response.layers(0).output_width(), 6);
  EXPECT_EQ(response.layers(0).weights_bytes(), 64);
  EXPECT_EQ(response.layers(0).kernels_size(), 0);
  EXPECT_EQ(response.weights_bytes(), 128);
  EXPECT_EQ(response.max_batch_rows(), 256);
  EXPECT_EQ(response.load_seconds(), 0.5);
  EXPECT_EQ(response.device(), "cpu");
  EXPECT_EQ(response.checkpoint_file(), "model.pt");
  EXPECT_EQ(response.dense_kind(), v1::DENSE_KIND_COST_BASELINE);
  EXPECT_EQ(response.dense_description(), "all neurons, evaluated densely");
}

TEST(DescribeModel, OfTheTwinNamesTheTwin) {
  const std::vector<VersionStatus> siblings = {Ready(2, true)};
  const v1::GetModelResponse response =
      DescribeModel(*siblings[0].dense, siblings);
  EXPECT_EQ(response.summary().name(), "m:dense");
  EXPECT_EQ(response.summary().implementation(), v1::IMPLEMENTATION_DENSE);
}

TEST(DescribeModel, SaysWhenTheTwinWasTrained) {
  const auto servable = Make(Implementation::kFff, 2, true);
  EXPECT_EQ(DescribeModel(*servable, {}).dense_kind(), v1::DENSE_KIND_TRAINED);
}

TEST(FillMetadata, PutsTheBatchDimensionFirst) {
  const std::vector<VersionStatus> siblings = {Ready(1, false), Ready(2, true),
                                               Failed(3)};
  inference::ModelMetadataResponse response;
  FillMetadata(*siblings[1].dense, siblings, response);
  EXPECT_EQ(response.name(), "m:dense");
  EXPECT_EQ(response.platform(), "fff_serving");
  EXPECT_THAT(response.versions(), ElementsAre("1", "2"))
      << "versions that answer, and no others";
  ASSERT_EQ(response.inputs_size(), 1);
  EXPECT_EQ(response.inputs(0).name(), "pixels");
  EXPECT_EQ(response.inputs(0).datatype(), "FP32");
  EXPECT_THAT(response.inputs(0).shape(), ElementsAre(-1, 2, 3));
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "scores");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(-1, 6));
  EXPECT_EQ(response.properties().at("implementation"), "dense");
  EXPECT_EQ(response.properties().at("dense_kind"), "cost_baseline");
}

TEST(FillConfig, HoldsWhatLoadGeneratorsRead) {
  inference::ModelConfig config;
  FillConfig(*Make(Implementation::kFff, 2, true), config);
  EXPECT_EQ(config.name(), "m");
  EXPECT_EQ(config.platform(), "fff_serving");
  EXPECT_EQ(config.backend(), "fff_serving");
  // Above 0, so that the metadata's -1 reads as the batch dimension.
  EXPECT_EQ(config.max_batch_size(), 256);
  ASSERT_EQ(config.input_size(), 1);
  EXPECT_EQ(config.input(0).name(), "pixels");
  EXPECT_EQ(config.input(0).data_type(), inference::TYPE_FP32);
  EXPECT_THAT(config.input(0).dims(), ElementsAre(2, 3));
  ASSERT_EQ(config.output_size(), 1);
  EXPECT_THAT(config.output(0).dims(), ElementsAre(6));
  EXPECT_TRUE(config.has_dynamic_batching());
  EXPECT_EQ(config.dynamic_batching().max_queue_delay_microseconds(), 1500u);
  EXPECT_EQ(config.parameters().at("implementation").string_value(), "fff");
  EXPECT_EQ(config.parameters().at("dense_kind").string_value(), "trained");
}

TEST(FillStatistics, OfAFreshVersionIsZero) {
  inference::ModelStatistics statistics;
  FillStatistics(*Make(Implementation::kDense, 7), statistics);
  EXPECT_EQ(statistics.name(), "m:dense");
  EXPECT_EQ(statistics.version(), "7");
  EXPECT_EQ(statistics.inference_count(), 0u);
  EXPECT_EQ(statistics.execution_count(), 0u);
  EXPECT_EQ(statistics.last_inference(), 0u);
  EXPECT_EQ(statistics.inference_stats().success().count(), 0u);
}

TEST(FillStatistics, CountsRequestsRowsAndBatches) {
  const auto servable = Make(Implementation::kFff);
  metrics::ModelMetrics& metrics = servable->metrics();
  metrics.RecordRequest(metrics::Method::kPredict, 0, 100);
  metrics.RecordRequest(metrics::Method::kModelInfer, 0, 20);
  metrics.RecordRequest(metrics::Method::kModelInfer, 3, 7);
  metrics.queue_duration.Observe(5);
  metrics.queue_duration.Observe(6);
  metrics.compute_duration.Observe(40);
  metrics.rows.Add(9);
  metrics.queued_ns.Add(12);
  metrics.computed_ns.Add(70);
  metrics.decode_ns.Add(3);
  metrics.encode_ns.Add(4);
  metrics.last_inference_ms.store(123456);
  inference::ModelStatistics statistics;
  FillStatistics(*servable, statistics);
  EXPECT_EQ(statistics.inference_count(), 9u);
  EXPECT_EQ(statistics.execution_count(), 1u);
  EXPECT_EQ(statistics.last_inference(), 123456u);
  const inference::InferStatistics& infer = statistics.inference_stats();
  EXPECT_EQ(infer.success().count(), 2u);
  EXPECT_EQ(infer.success().ns(), 120u);
  EXPECT_EQ(infer.fail().count(), 1u);
  EXPECT_EQ(infer.fail().ns(), 7u);
  EXPECT_EQ(infer.queue().count(), 2u);
  EXPECT_EQ(infer.queue().ns(), 12u);
  EXPECT_EQ(infer.compute_infer().count(), 2u);
  EXPECT_EQ(infer.compute_infer().ns(), 70u);
  EXPECT_EQ(infer.compute_input().count(), 2u);
  EXPECT_EQ(infer.compute_input().ns(), 3u);
  EXPECT_EQ(infer.compute_output().count(), 2u);
  EXPECT_EQ(infer.compute_output().ns(), 4u);
}

// "name/version state" of every entry.
std::vector<std::string> Index(const VersionStatus& status, bool only_ready) {
  inference::RepositoryIndexResponse response;
  AppendIndex(status, only_ready, response);
  std::vector<std::string> lines;
  for (const auto& entry : response.models()) {
    lines.push_back(entry.name() + "/" + entry.version() + " " + entry.state() +
                    (entry.reason().empty() ? "" : " ") + entry.reason());
  }
  return lines;
}

TEST(AppendIndex, ListsEveryStateOrTheReadyOnesAlone) {
  EXPECT_THAT(Index(Ready(2, true), false),
              ElementsAre("m/2 READY", "m:dense/2 READY"));
  EXPECT_THAT(Index(Ready(2, true), true),
              ElementsAre("m/2 READY", "m:dense/2 READY"));
  EXPECT_THAT(Index(Failed(3), false),
              ElementsAre("m/3 UNAVAILABLE the file is cut short",
                          "m:dense/3 UNAVAILABLE the file is cut short"));
  EXPECT_THAT(Index(Failed(3), true), IsEmpty());
  VersionStatus loading = Failed(4);
  loading.state = VersionState::kLoading;
  loading.reason.clear();
  EXPECT_THAT(Index(loading, false),
              ElementsAre("m/4 LOADING", "m:dense/4 LOADING"));
  EXPECT_THAT(Index(loading, true), IsEmpty());
}

}  // namespace
}  // namespace fff::rpc

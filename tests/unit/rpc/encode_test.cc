#include "server/rpc/messages/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::rpc {
namespace {

using serving::DoublingLayer;
using serving::Implementation;
using serving::MakeModel;
using serving::MakeServable;
using serving::ServableOptions;
using serving::TestTask;
using ::testing::ElementsAre;

using Family = graph::RoutingShape::Family;

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Layers of width 3: a plain one, a leaf layer (depth 2), a path
// layer (depth 1, so two margins).
std::shared_ptr<const model::Model> RoutedModel() {
  DoublingLayer::Options plain;
  plain.width = 3;
  DoublingLayer::Options leaf = plain;
  leaf.routing = {Family::kLeaf, 1, 2, 2};
  DoublingLayer::Options path = plain;
  path.routing = {Family::kPath, 1, 2, 1};
  return MakeModel({plain, leaf, path});
}

std::shared_ptr<const model::Model> LabelledModel(
    std::vector<std::string> labels) {
  DoublingLayer::Options options;
  options.width = 3;
  serving::ModelOptions more;
  more.output = serving::PortOf("output", {3}, std::move(labels));
  return MakeModel(options, std::move(more));
}

// A finished task of rows x 3 with the given outputs.
class FinishedTask : public TestTask {
 public:
  explicit FinishedTask(std::vector<float> outputs)
      : TestTask(std::move(outputs), 3) {
    std::copy(input().begin(), input().end(), y.data);
    timing = {11, 22, 33};
  }
};

TEST(PrepareOutput, MakesRoomInsideThePredictResponse) {
  v1::PredictResponse response;
  const tensor::MutableRows y = PrepareOutput({2, 1, 3, {}}, response).y;
  EXPECT_EQ(y.rows, 2);
  EXPECT_EQ(y.width, 3);
  for (int i = 0; i < 6; ++i) y.data[i] = static_cast<float>(i);
  EXPECT_THAT(Floats(response.output().data()), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(PrepareOutput, MakesRoomForTheStrongestColumnsAndTheirIds) {
  v1::PredictResponse response;
  const AnswerRoom room = PrepareOutput({2, 3, 2, {2}}, response);
  EXPECT_EQ(room.y.rows, 2);
  EXPECT_EQ(room.y.width, 6);
  EXPECT_EQ(response.output().data().size(), 12 * sizeof(float));
  EXPECT_EQ(response.top_ids().data().size(), 12 * sizeof(int64_t));
  inference::ModelInferResponse infer;
  const AnswerRoom one = PrepareOutput({1, 1, 1, {1}}, infer);
  *one.y.data = 4;
  *one.top_ids = 7;  // both short enough for the string itself
  ASSERT_EQ(infer.raw_output_contents_size(), 2);
  EXPECT_THAT(Floats(infer.raw_output_contents(0)), ElementsAre(4));
  EXPECT_EQ(infer.raw_output_contents(1)[0], 7);
}

TEST(AnswerFloats, CountIdsAndTextsToo) {
  const graph::Port port = serving::PortOf("y", {3}, {"a", "bee", "c"});
  EXPECT_EQ(AnswerFloats(port, {2, 5, 3, {}}), 30);
  EXPECT_EQ(AnswerFloats(port, {2, 5, 2, {2}}), 60);
  EXPECT_EQ(AnswerFloats(port, {1, 1, 2, {2, true}}), 2 * (3 + 35 / 4));
}

TEST(PrepareOutput, MakesRoomInsideTheInferResponse) {
  inference::ModelInferResponse response;
  const tensor::MutableRows y = PrepareOutput({1, 1, 3, {}}, response).y;
  for (int i = 0; i < 3; ++i) y.data[i] = 7;
  ASSERT_EQ(response.raw_output_contents_size(), 1);
  EXPECT_THAT(Floats(response.raw_output_contents(0)), ElementsAre(7, 7, 7));
}

TEST(FinishResponse, OfPredictSaysWhoAnsweredAndHow) {
  ServableOptions options;
  options.name = "m";
  options.version = 4;
  const auto servable = MakeServable(LabelledModel({}), options);
  v1::PredictRequest request;
  request.set_request_id("id-7");
  v1::PredictResponse response;
  FinishResponse(request, *servable, FinishedTask({1, 2, 3, 4, 5, 6}), nullptr,
                 response);
  EXPECT_EQ(response.model(), "m");
  EXPECT_EQ(response.version(), 4);
  EXPECT_EQ(response.implementation(), v1::IMPLEMENTATION_FFF);
  EXPECT_EQ(response.request_id(), "id-7");
  EXPECT_EQ(response.output().datatype(), v1::DATA_TYPE_FP32);
  EXPECT_THAT(response.output().shape(), ElementsAre(2, 3));
  EXPECT_EQ(response.timing().queue_ns(), 11);
  EXPECT_EQ(response.timing().compute_ns(), 22);
  EXPECT_EQ(response.timing().batch_rows(), 33);
  EXPECT_EQ(response.labels_size(), 0);
  EXPECT_EQ(response.routing_size(), 0);
}

TEST(FinishResponse, OfTheDenseTwinSaysSo) {
  ServableOptions options;
  options.implementation = Implementation::kDense;
  const auto servable = MakeServable(LabelledModel({}), options);
  v1::PredictResponse response;
  FinishResponse(v1::PredictRequest(), *servable, FinishedTask({1, 2, 3}),
                 nullptr, response);
  EXPECT_EQ(response.implementation(), v1::IMPLEMENTATION_DENSE);
  EXPECT_EQ(response.model(), "m");
}

TEST(FinishResponse, NamesTheStrongestColumnOfEveryRow) {
  const auto servable = MakeServable(LabelledModel({"ant", "bee", "cat"}));
  v1::PredictRequest request;
  request.set_include_labels(true);
  v1::PredictResponse response;
  FinishResponse(request, *servable,
                 FinishedTask({1, 2, 3, 9, -1, 2, -3, -1, -2, 5, 5, 5}),
                 nullptr, response);
  EXPECT_THAT(response.labels(), ElementsAre("cat", "ant", "bee", "ant"));
}

// A finished task of one row with the strongest two of three columns.
class StrongestTask : public FinishedTask {
 public:
  StrongestTask() : FinishedTask({9, 0.25F, 0}) {
    y.width = 2;
    top_k = 2;
    top_ids = ids_.data();
  }

 private:
  std::array<int64_t, 2> ids_ = {2, 0};
};

TEST(FinishResponse, GivesTheStrongestColumnsWithIdsAndLabels) {
  const auto servable = MakeServable(LabelledModel({"ant", "bee", "cat"}));
  v1::PredictRequest request;
  request.set_include_labels(true);
  v1::PredictResponse response;
  FinishResponse(request, *servable, StrongestTask(), nullptr, response);
  EXPECT_THAT(response.output().shape(), ElementsAre(1, 2));
  EXPECT_THAT(response.top_ids().shape(), ElementsAre(1, 2));
  EXPECT_EQ(response.top_ids().datatype(), v1::DATA_TYPE_INT64);
  EXPECT_THAT(response.labels(), ElementsAre("cat", "ant"));
  inference::ModelInferResponse infer;
  FinishResponse(inference::ModelInferRequest(), *servable, StrongestTask(),
                 {2}, infer);
  ASSERT_EQ(infer.outputs_size(), 2);
  EXPECT_EQ(infer.outputs(0).name(), "output");
  EXPECT_EQ(infer.outputs(1).name(), "output_ids");
  EXPECT_EQ(infer.outputs(1).datatype(), "INT64");
  EXPECT_THAT(infer.outputs(1).shape(), ElementsAre(1, 2));
}

TEST(FinishResponse, ClassifiesInTheTextsOfTheProtocol) {
  const auto texts = [](std::vector<std::string> labels) {
    inference::ModelInferResponse response;
    response.add_raw_output_contents("numbers");
    response.add_raw_output_contents("ids");
    FinishResponse(inference::ModelInferRequest(),
                   *MakeServable(LabelledModel(std::move(labels))),
                   StrongestTask(), {2, true}, response);
    EXPECT_EQ(response.outputs(0).datatype(), "BYTES");
    EXPECT_THAT(response.outputs(0).shape(), ElementsAre(1, 2));
    EXPECT_EQ(response.outputs_size(), 1);
    EXPECT_EQ(response.raw_output_contents_size(), 1);
    return response.raw_output_contents(0);
  };
  const std::string zeros(3, '\0');
  EXPECT_EQ(texts({"ant", "bee", "cat"}),
            absl::StrCat("\7", zeros, "9:2:cat", "\n", zeros, "0.25:0:ant"));
  EXPECT_EQ(texts({}), absl::StrCat("\3", zeros, "9:2", "\6", zeros, "0.25:0"));
}

TEST(FinishResponse, GivesLabelsOnlyWhenAskedAndThere) {
  v1::PredictRequest request;
  v1::PredictResponse response;
  FinishResponse(request, *MakeServable(LabelledModel({"a", "b", "c"})),
                 FinishedTask({1, 2, 3}), nullptr, response);
  EXPECT_EQ(response.labels_size(), 0);
  request.set_include_labels(true);
  FinishResponse(request, *MakeServable(LabelledModel({})),
                 FinishedTask({1, 2, 3}), nullptr, response);
  EXPECT_EQ(response.labels_size(), 0);
}

TEST(FinishResponse, OfInferEchoesTheIdAndNamesTheOutput) {
  ServableOptions options;
  options.version = 12;
  options.implementation = Implementation::kDense;
  const auto servable = MakeServable(LabelledModel({}), options);
  inference::ModelInferRequest request;
  request.set_model_name("m:dense");
  request.set_id("abc");
  inference::ModelInferResponse response;
  FinishResponse(request, *servable, FinishedTask({1, 2, 3}), {}, response);
  EXPECT_EQ(response.model_name(), "m:dense");
  EXPECT_EQ(response.model_version(), "12");
  EXPECT_EQ(response.id(), "abc");
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "output");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_THAT(response.outputs(0).shape(), ElementsAre(1, 3));
  // Clients of the protocol read raw contents and no others.
  EXPECT_FALSE(response.outputs(0).has_contents());
}

TEST(Routes, MakeRoomForTheLayersThatRoute) {
  const auto model = RoutedModel();
  model::Routes routing;
  routing.Prepare(*model, 5, /*margins=*/true);
  ASSERT_EQ(routing.sinks().size(), 3u);
  EXPECT_EQ(routing.sinks()[0].leaves, nullptr);
  EXPECT_EQ(routing.sinks()[0].margins, nullptr);
  EXPECT_EQ(routing.leaves(1).size(), 5u);
  EXPECT_EQ(routing.margins(1).size(), 10u);
  EXPECT_EQ(routing.sinks()[1].leaves, routing.leaves(1).data());
  EXPECT_EQ(routing.leaves(2).size(), 5u);
  EXPECT_EQ(routing.margins(2).size(), 10u);
  EXPECT_EQ(routing.sinks()[2].margins, routing.margins(2).data());
  // A call slot is reused for requests of other sizes.
  routing.Prepare(*model, 1, /*margins=*/true);
  EXPECT_EQ(routing.leaves(1).size(), 1u);
  EXPECT_EQ(routing.sinks()[1].leaves, routing.leaves(1).data());
}

TEST(FinishResponse, ReportsTheRoutingOfEveryLayerThatRoutes) {
  const auto servable = MakeServable(RoutedModel());
  model::Routes routing;
  routing.Prepare(servable->model(), 2, /*margins=*/true);
  const engine::RouteSink& leaf_sink = routing.sinks()[1];
  absl::c_copy(std::array{3, 0}, leaf_sink.leaves);
  absl::c_copy(std::array{0.0f, 0.5f, 1.0f, 1.5f}, leaf_sink.margins);
  const engine::RouteSink& path_sink = routing.sinks()[2];
  absl::c_copy(std::array{1, 0}, path_sink.leaves);
  absl::c_copy(std::array{-1.0f, 1.0f, -2.0f, 2.0f}, path_sink.margins);
  v1::PredictResponse response;
  FinishResponse(v1::PredictRequest(), *servable,
                 FinishedTask({1, 2, 3, 4, 5, 6}), &routing, response);
  ASSERT_EQ(response.routing_size(), 2);
  const v1::LayerRouting& leaf = response.routing(0);
  EXPECT_EQ(leaf.layer(), 1);
  EXPECT_EQ(leaf.family(), v1::FAMILY_LEAF);
  EXPECT_EQ(leaf.trees(), 1);
  EXPECT_EQ(leaf.depth(), 2);
  EXPECT_EQ(leaf.margins_per_tree(), 2);
  EXPECT_THAT(leaf.leaf(), ElementsAre(3, 0));
  EXPECT_THAT(leaf.margin(), ElementsAre(0, 0.5f, 1, 1.5f));
  const v1::LayerRouting& path = response.routing(1);
  EXPECT_EQ(path.layer(), 2);
  EXPECT_EQ(path.family(), v1::FAMILY_PATH);
  EXPECT_EQ(path.depth(), 1);
  EXPECT_EQ(path.margins_per_tree(), 2);
  EXPECT_THAT(path.leaf(), ElementsAre(1, 0));
  EXPECT_THAT(path.margin(), ElementsAre(-1, 1, -2, 2));
}

}  // namespace
}  // namespace fff::rpc

// Answers and descriptions of a model with several outputs, in both APIs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "server/model/builder.h"
#include "server/rpc/messages/encode.h"
#include "server/rpc/messages/model_messages.h"
#include "server/rpc/messages/request_options.h"
#include "tests/unit/serving/test_servable.h"

namespace fff::rpc {
namespace {

using serving::Servable;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// "scores" [3], labelled; "hidden" [2], per token; "class" [1, 4].
graph::Graph ThreeOutputs() {
  graph::Port port = {"x", tensor::DataType::kF32, {2}};
  port.sequence = true;
  graph::GraphBuilder builder;
  const graph::ValueId x = builder.AddInput(port);
  builder.BeginLayer({"all"});
  const auto linear = [&](int64_t width) {
    auto weights = std::make_shared<graph::DenseWeights>();
    weights->problem = {2, width, graph::Activation::kIdentity, false};
    weights->w = tensor::FloatArray::CopyOf(
        std::vector<float>(static_cast<size_t>(2 * width), 1));
    return graph::Linear{{std::move(weights)}};
  };
  auto pool = std::make_shared<graph::PoolTokensWeights>();
  pool->problem.input_width = 2;
  pool->problem.output_width = 2;
  const graph::ValueId pooled = *builder.Add(graph::PoolTokens{{pool}}, x);
  const graph::ValueId scores = *builder.Add(linear(3), pooled);
  const graph::ValueId classes = *builder.Add(linear(4), pooled);
  graph::Port main = {"scores", tensor::DataType::kF32, {}};
  main.labels = {"ant", "bee", "cat"};
  graph::Port other = {"class", tensor::DataType::kF32, {}};
  other.shape = {1, 4};
  other.labels = {"a", "b", "c", "d"};
  EXPECT_TRUE(builder.AddOutput(main, scores).ok());
  EXPECT_TRUE(
      builder.AddOutput({"hidden", tensor::DataType::kF32, {}}, x).ok());
  EXPECT_TRUE(builder.AddOutput(other, classes).ok());
  return std::move(builder).Build();
}

std::shared_ptr<const Servable> Served() {
  return serving::MakeServable(*model::BuildGraph(ThreeOutputs(), {}));
}

// One row of two tokens, of which the outputs with room are answered.
class AnsweredTask : public serving::Task {
 public:
  explicit AnsweredTask(AnswerRoom room) {
    tokens = 2;
    y = room.y;
    others = std::move(room.others);
    for (size_t i = 0; i < 3; ++i) {
      const tensor::MutableRows rows = output(i);
      if (rows.data == nullptr) continue;
      for (int64_t at = 0; at < rows.rows * rows.width; ++at) {
        rows.data[at] = static_cast<float>(10 * i) + static_cast<float>(at);
      }
    }
  }
  void OnDone(const absl::Status& /*status*/) override {}
};

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

AnswerShape ShapeOf(const WantedOutputs& wanted, const TopK& top = {}) {
  const graph::Graph graph = ThreeOutputs();
  return ShapeOfAnswer(graph, wanted, {1, 2}, 0, top);
}

TEST(SeveralOutputs, HaveRoomWhereTheyAreWanted) {
  const AnswerShape all = ShapeOf({true, true, true});
  EXPECT_EQ(all.row_width(), 3);
  EXPECT_THAT(all.others, ElementsAre(4, 4));
  const graph::Graph graph = ThreeOutputs();
  EXPECT_EQ(AnswerFloats(graph.outputs()[0], all), 11);
  const AnswerShape one = ShapeOf({false, false, true});
  EXPECT_EQ(one.row_width(), 0);
  EXPECT_THAT(one.others, ElementsAre(0, 4));
  v1::PredictResponse response;
  const AnswerRoom room = PrepareOutput(one, response);
  EXPECT_EQ(room.y.rows, 1);
  EXPECT_EQ(room.y.data, nullptr);
  EXPECT_EQ(room.others[0].data, nullptr);
  EXPECT_NE(room.others[1].data, nullptr);
}

TEST(SeveralOutputs, OfPredictStandBesideTheMainOne) {
  const auto servable = Served();
  v1::PredictRequest request;
  request.set_include_labels(true);
  v1::PredictResponse response;
  AnsweredTask task(PrepareOutput(ShapeOf({true, true, true}), response));
  FinishResponse(request, *servable, task, nullptr, response);
  EXPECT_THAT(response.output().shape(), ElementsAre(1, 3));
  EXPECT_THAT(Floats(response.output().data()), ElementsAre(0, 1, 2));
  EXPECT_THAT(response.labels(), ElementsAre("cat"));
  ASSERT_EQ(response.outputs_size(), 2);
  EXPECT_EQ(response.outputs(0).name(), "hidden");
  EXPECT_THAT(response.outputs(0).tensor().shape(), ElementsAre(1, 2, 2));
  EXPECT_EQ(response.outputs(0).tensor().datatype(), v1::DATA_TYPE_FP32);
  EXPECT_THAT(Floats(response.outputs(0).tensor().data()),
              ElementsAre(10, 11, 12, 13));
  EXPECT_EQ(response.outputs(1).name(), "class");
  EXPECT_THAT(response.outputs(1).tensor().shape(), ElementsAre(1, 1, 4));
}

TEST(SeveralOutputs, OfPredictAreLeftOutWhereNobodyWantsThem) {
  v1::PredictRequest request;
  request.set_include_labels(true);
  v1::PredictResponse response;
  AnsweredTask task(PrepareOutput(ShapeOf({false, false, true}), response));
  FinishResponse(request, *Served(), task, nullptr, response);
  EXPECT_FALSE(response.has_output());
  EXPECT_THAT(response.labels(), IsEmpty());
  ASSERT_EQ(response.outputs_size(), 1);
  EXPECT_EQ(response.outputs(0).name(), "class");
  EXPECT_THAT(Floats(response.outputs(0).tensor().data()),
              ElementsAre(20, 21, 22, 23));
}

std::vector<std::string> Names(const inference::ModelInferResponse& response) {
  std::vector<std::string> names;
  for (const auto& output : response.outputs()) names.push_back(output.name());
  return names;
}

TEST(SeveralOutputs, OfTheProtocolComeInOrderWithTheirBytes) {
  inference::ModelInferResponse response;
  AnsweredTask task(PrepareOutput(ShapeOf({true, true, true}), response));
  FinishResponse(inference::ModelInferRequest(), *Served(), task, {}, response);
  EXPECT_THAT(Names(response), ElementsAre("scores", "hidden", "class"));
  ASSERT_EQ(response.raw_output_contents_size(), 3);
  EXPECT_THAT(Floats(response.raw_output_contents(1)),
              ElementsAre(10, 11, 12, 13));
  EXPECT_THAT(response.outputs(1).shape(), ElementsAre(1, 2, 2));
  EXPECT_EQ(response.outputs(1).datatype(), "FP32");

  inference::ModelInferResponse some;
  AnsweredTask other(PrepareOutput(ShapeOf({false, true, false}), some));
  FinishResponse(inference::ModelInferRequest(), *Served(), other, {}, some);
  EXPECT_THAT(Names(some), ElementsAre("hidden"));
  ASSERT_EQ(some.raw_output_contents_size(), 1);
  EXPECT_THAT(Floats(some.raw_output_contents(0)), ElementsAre(10, 11, 12, 13));
}

TEST(SeveralOutputs, OfTheProtocolKeepTheirBytesBesideIdsAndTexts) {
  for (const bool classification : {false, true}) {
    const TopK top = {1, classification};
    inference::ModelInferResponse response;
    AnswerRoom room = PrepareOutput(ShapeOf({true, true, true}, top), response);
    *room.top_ids = 2;
    int64_t* const ids = room.top_ids;
    AnsweredTask task(std::move(room));
    task.top_k = 1;
    task.top_ids = ids;
    FinishResponse(inference::ModelInferRequest(), *Served(), task, top,
                   response);
    EXPECT_EQ(response.raw_output_contents_size(), response.outputs_size());
    const int last = response.outputs_size() - 1;
    EXPECT_EQ(response.outputs(last).name(), "class");
    EXPECT_THAT(Floats(response.raw_output_contents(last)),
                ElementsAre(20, 21, 22, 23));
    if (classification) {
      EXPECT_THAT(Names(response), ElementsAre("scores", "hidden", "class"));
      EXPECT_EQ(response.outputs(0).datatype(), "BYTES");
      EXPECT_THAT(response.raw_output_contents(0), HasSubstr("0:2:cat"));
    } else {
      EXPECT_THAT(Names(response),
                  ElementsAre("scores", "scores_ids", "hidden", "class"));
    }
  }
}

TEST(SeveralOutputs, AreAllDescribed) {
  const auto servable = Served();
  const v1::GetModelResponse model = DescribeModel(*servable, {});
  EXPECT_EQ(model.output().name(), "scores");
  ASSERT_EQ(model.outputs_size(), 3);
  EXPECT_EQ(model.outputs(0).name(), "scores");
  EXPECT_EQ(model.outputs(1).name(), "hidden");
  EXPECT_THAT(model.outputs(1).shape(), ElementsAre(-1, 2));
  EXPECT_THAT(model.outputs(2).labels(), ElementsAre("a", "b", "c", "d"));
  inference::ModelMetadataResponse metadata;
  FillMetadata(*servable, {}, metadata);
  ASSERT_EQ(metadata.outputs_size(), 3);
  EXPECT_THAT(metadata.outputs(1).shape(), ElementsAre(-1, -1, 2));
  EXPECT_THAT(metadata.outputs(2).shape(), ElementsAre(-1, 1, 4));
  inference::ModelConfig config;
  FillConfig(*servable, config);
  ASSERT_EQ(config.output_size(), 3);
  EXPECT_EQ(config.output(2).name(), "class");
  EXPECT_THAT(config.output(2).dims(), ElementsAre(1, 4));
}

template <class Request>
Request Asking(const std::vector<std::string>& names);
template <>
v1::PredictRequest Asking(const std::vector<std::string>& names) {
  v1::PredictRequest request;
  for (const std::string& name : names) request.add_outputs(name);
  return request;
}
template <>
inference::ModelInferRequest Asking(const std::vector<std::string>& names) {
  inference::ModelInferRequest request;
  for (const std::string& name : names) request.add_outputs()->set_name(name);
  return request;
}

template <class Request>
void ExpectChoice() {
  const graph::Graph graph = ThreeOutputs();
  const auto wanted = [&](const std::vector<std::string>& names) {
    return DecodeOutputs(Asking<Request>(names), graph);
  };
  EXPECT_THAT(*wanted({}), ElementsAre(true, true, true));
  EXPECT_THAT(*wanted({"class", "scores"}), ElementsAre(true, false, true));
  EXPECT_EQ(wanted({"hidden", "b\n"}).status().message(),
            "got requested output 'b\\x0a', wanted 'scores', 'hidden', 'class' "
            "or none (all)");
  EXPECT_EQ(wanted({"class", "class"}).status().message(),
            "got output 'class' requested twice, wanted once");
}

TEST(DecodeOutputs, TakesThoseThatAreNamedOrAll) {
  ExpectChoice<v1::PredictRequest>();
  ExpectChoice<inference::ModelInferRequest>();
}

TEST(DecodeOutputs, IdsGoWithTheMainOutput) {
  const graph::Graph graph = ThreeOutputs();
  auto request = Asking<inference::ModelInferRequest>({"scores_ids"});
  EXPECT_FALSE(DecodeOutputs(request, graph).ok());
  (*request.mutable_parameters())["top_k"].set_int64_param(1);
  EXPECT_THAT(*DecodeOutputs(request, graph), ElementsAre(true, false, false));
  request.add_outputs()->set_name("ids");
  EXPECT_THAT(
      std::string(DecodeOutputs(request, graph).status().message()),
      HasSubstr("wanted 'scores', 'scores_ids', 'hidden', 'class' or none"));
}

TEST(DecodeTopK, IsOfTheMainOutputAlone) {
  const graph::Graph graph = ThreeOutputs();
  auto request = Asking<inference::ModelInferRequest>({"class"});
  auto& parameters = *request.mutable_outputs(0)->mutable_parameters();
  parameters["classification"].set_int64_param(1);
  EXPECT_EQ(DecodeTopK(request, graph).status().message(),
            "got classification of output 'class', wanted it of 'scores' "
            "alone, the main output");
  EXPECT_TRUE(CheckTopKWanted({}, {false, true, true}, graph).ok());
  EXPECT_TRUE(CheckTopKWanted({2}, {true, false, false}, graph).ok());
  EXPECT_EQ(CheckTopKWanted({2}, {false, true, true}, graph).message(),
            "got top_k 2, which is of 'scores', but the requested outputs do "
            "not name that one");
}

}  // namespace
}  // namespace fff::rpc

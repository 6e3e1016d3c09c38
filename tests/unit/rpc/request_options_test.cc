// What a request asks for beside its inputs: whose outputs, and which columns.
#include "server/rpc/messages/request_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/rpc/messages/decode.h"

namespace fff::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const graph::Port kOutput = {"output", tensor::DataType::kF32, {2}, {}};

absl::Status PredictError(const v1::PredictRequest& request,
                          const InputSpec& spec) {
  InputScratch scratch;
  return DecodePredictInput(request, spec, scratch).status();
}

// Ids of sequences, and positions.
InputSpec SequenceSpec() {
  static const graph::Port ids = [] {
    graph::Port port = {"ids", tensor::DataType::kI64, {}};
    port.sequence = true;
    port.limit = 100;
    return port;
  }();
  static const graph::Port positions = [] {
    graph::Port port = {"positions", tensor::DataType::kI64, {}};
    port.sequence = port.optional = true;
    port.role = graph::Port::Role::kPositions;
    port.limit = 8;
    return port;
  }();
  InputSpec spec = ids;
  spec.positions = &positions;
  spec.tokens_max = 8;
  return spec;
}

void AddIntegers(const std::string& name, std::vector<int64_t> shape,
                 const std::vector<int64_t>& values,
                 v1::PredictRequest& request) {
  v1::NamedTensor& named = *request.add_inputs();
  named.set_name(name);
  named.mutable_tensor()->mutable_shape()->Add(shape.begin(), shape.end());
  named.mutable_tensor()->set_datatype(v1::DATA_TYPE_INT64);
  named.mutable_tensor()->set_data(
      std::string(reinterpret_cast<const char*>(values.data()),
                  values.size() * sizeof(int64_t)));
}

TEST(DecodePositions, AreAnyNumberPerRowInAnyOrder) {
  for (const bool first : {false, true}) {
    v1::PredictRequest request;
    if (first) AddIntegers("positions", {2, 1}, {0, 2}, request);
    AddIntegers("ids", {2, 3}, {1, 2, 3, 4, 5, 6}, request);
    if (!first)
      AddIntegers("positions", {2, 4}, {2, 0, 0, 1, 1, 1, 1, 1}, request);
    InputScratch scratch;
    const auto decoded = DecodePredictInput(request, SequenceSpec(), scratch);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->tokens, 3);
    EXPECT_EQ(decoded->positions_per_row(), first ? 1 : 4);
    if (first) {
      EXPECT_THAT(decoded->Positions(), ElementsAre(0, 2));
    } else {
      EXPECT_THAT(decoded->Positions(), ElementsAre(2, 0, 0, 1, 1, 1, 1, 1));
    }
  }
}

TEST(DecodePositions, MayBeAbsent) {
  v1::PredictRequest request;
  AddIntegers("ids", {2, 3}, {1, 2, 3, 4, 5, 6}, request);
  InputScratch scratch;
  const auto decoded = DecodePredictInput(request, SequenceSpec(), scratch);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->positions_per_row(), 0);
  EXPECT_TRUE(decoded->Positions().empty());
}

TEST(DecodePositions, MustBePlacesOfTheirRow) {
  struct Case {
    std::vector<int64_t> shape;
    std::vector<int64_t> values;
    std::string why;
  };
  const Case cases[] = {
      {{2, 1}, {0, 3}, "got 3 at row 1, element 0, wanted 0 to 2"},
      {{2, 2}, {0, 1, 2, 7}, "got 7 at row 1, element 1, wanted 0 to 2"},
      {{2, 1}, {0, -1}, "got -1 at row 1, element 0, wanted 0 to 7"},
      {{2, 1}, {0, int64_t{1} << 40}, "wanted 0 to 7"},
      {{1, 2}, {0, 1}, "got 1 rows, wanted 2 as input 'ids'"},
      {{2, 0}, {}, "got sequences of 0 tokens, wanted 1 to 8"},
      {{2, 1, 1}, {0, 1}, "got shape [2, 1, 1], wanted [rows, sequence]"},
  };
  for (const Case& wrong : cases) {
    v1::PredictRequest request;
    AddIntegers("ids", {2, 3}, {1, 2, 3, 4, 5, 6}, request);
    AddIntegers("positions", wrong.shape, wrong.values, request);
    EXPECT_THAT(std::string(PredictError(request, SequenceSpec()).message()),
                HasSubstr(wrong.why));
  }
  v1::PredictRequest twice;
  AddIntegers("ids", {1, 3}, {1, 2, 3}, twice);
  AddIntegers("positions", {1, 1}, {0}, twice);
  AddIntegers("positions", {1, 1}, {0}, twice);
  EXPECT_EQ(PredictError(twice, SequenceSpec()).message(),
            "got input 'positions' twice");
  v1::PredictRequest alone;
  AddIntegers("positions", {1, 1}, {0}, alone);
  EXPECT_THAT(std::string(PredictError(alone, SequenceSpec()).message()),
              HasSubstr("got no input tensor, wanted 'ids'"));
  v1::PredictRequest unknown;
  AddIntegers("where", {1, 1}, {0}, unknown);
  EXPECT_EQ(PredictError(unknown, SequenceSpec()).message(),
            "got input 'where', wanted 'ids' or 'positions'");
}

TEST(DecodeTopK, IsWithinTheColumns) {
  v1::PredictRequest request;
  EXPECT_EQ(DecodeTopK(request, kOutput)->k, 0);
  request.set_top_k(2);
  EXPECT_EQ(DecodeTopK(request, kOutput)->k, 2);
  for (const int64_t wrong : {int64_t{-1}, int64_t{3}, int64_t{1} << 40}) {
    request.set_top_k(wrong);
    EXPECT_EQ(DecodeTopK(request, kOutput).status().message(),
              "got top_k " + std::to_string(wrong) +
                  ", wanted 0 (all columns) to 2, the columns of 'output'");
  }
}

TEST(DecodeTopK, OfTheProtocolIsAParameterOrAClassification) {
  inference::ModelInferRequest request;
  (*request.mutable_parameters())["top_k"].set_int64_param(2);
  EXPECT_EQ(DecodeTopK(request, kOutput)->k, 2);
  EXPECT_FALSE(DecodeTopK(request, kOutput)->classification);
  auto& output = *request.add_outputs();
  output.set_name("output");
  (*output.mutable_parameters())["classification"].set_int64_param(1);
  EXPECT_THAT(std::string(DecodeTopK(request, kOutput).status().message()),
              HasSubstr("got both top_k and classification"));
  request.mutable_parameters()->clear();
  EXPECT_EQ(DecodeTopK(request, kOutput)->k, 1);
  EXPECT_TRUE(DecodeTopK(request, kOutput)->classification);
  for (const int64_t wrong : {-1, 3}) {
    (*output.mutable_parameters())["classification"].set_int64_param(wrong);
    EXPECT_THAT(std::string(DecodeTopK(request, kOutput).status().message()),
                HasSubstr("got classification "));
  }
  (*output.mutable_parameters())["classification"].set_string_param("3");
  EXPECT_FALSE(DecodeTopK(request, kOutput).ok());
}

}  // namespace
}  // namespace fff::rpc

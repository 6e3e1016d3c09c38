// Several named inputs of several types, in either API: what arrives at the
// model, and every refusal.
#include "server/rpc/messages/input_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/messages/bad_field.h"
#include "server/rpc/messages/decode.h"

namespace fff::rpc {
namespace {

using tensor::DataType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

graph::Port SequencePort(const std::string& name) {
  graph::Port port = {name, DataType::kI64, {}};
  port.sequence = true;
  return port;
}

// Ids of sequences up to six tokens, their mask, and a picture per row.
class InputDecoderTest : public ::testing::Test {
 protected:
  InputDecoderTest() {
    graph::Port ids = SequencePort("ids");
    ids.limit = 100;
    graph::Port mask = SequencePort("mask");
    mask.role = graph::Port::Role::kMask;
    mask.optional = true;
    mask.limit = 2;
    const graph::Port picture = {"picture", DataType::kU8, {2, 2}};
    ports_ = {ids, mask, picture};
    spec_.ports = ports_;
    spec_.tokens_max = 6;
  }

  template <class T>
  static v1::Tensor Tensor(v1::DataType type, std::vector<int64_t> shape,
                           const std::vector<T>& values) {
    v1::Tensor tensor;
    tensor.set_datatype(type);
    tensor.mutable_shape()->Add(shape.begin(), shape.end());
    tensor.set_data(values.data(), values.size() * sizeof(T));
    return tensor;
  }
  static void Add(v1::PredictRequest& request, const std::string& name,
                  const v1::Tensor& tensor) {
    v1::NamedTensor& named = *request.add_inputs();
    named.set_name(name);
    *named.mutable_tensor() = tensor;
  }
  // Two sequences of three tokens and their pictures.
  static v1::PredictRequest Request() {
    v1::PredictRequest request;
    Add(request, "picture",
        Tensor<uint8_t>(v1::DATA_TYPE_UINT8, {2, 2, 2},
                        {0, 1, 2, 3, 4, 5, 254, 255}));
    Add(request, "ids",
        Tensor<int64_t>(v1::DATA_TYPE_INT64, {2, 3}, {0, 1, 2, 97, 98, 99}));
    return request;
  }

  absl::StatusOr<DecodedInputs> Decode(const v1::PredictRequest& request) {
    return DecodePredictInput(request, spec_, scratch_);
  }
  std::string Error(const v1::PredictRequest& request) {
    const absl::Status status = Decode(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return absl::StrCat(BadField(status).value_or("no field"), ": ",
                        status.message());
  }
  template <class T>
  static std::vector<T> Values(const tensor::TypedRows& rows) {
    std::vector<T> values(static_cast<size_t>(rows.rows * rows.width));
    std::memcpy(values.data(), rows.data, values.size() * sizeof(T));
    return values;
  }

  const graph::Port one_ = SequencePort("one");
  std::vector<graph::Port> ports_;
  InputSpec spec_ = one_;
  InputScratch scratch_;
};

TEST_F(InputDecoderTest, PutsEveryTensorAtItsPort) {
  const auto decoded = Decode(Request());
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->rows, 2);
  EXPECT_EQ(decoded->tokens, 3);
  ASSERT_EQ(decoded->matrices.size(), 3u);
  EXPECT_EQ(decoded->matrices[0].type, DataType::kI32);
  EXPECT_EQ(decoded->matrices[0].width, 3);
  EXPECT_THAT(Values<int32_t>(decoded->matrices[0]),
              ElementsAre(0, 1, 2, 97, 98, 99));
  EXPECT_EQ(decoded->matrices[1].data, nullptr) << "the mask is optional";
  EXPECT_EQ(decoded->matrices[1].width, 3);
  EXPECT_EQ(decoded->matrices[2].width, 4);
  EXPECT_THAT(Values<float>(decoded->matrices[2]),
              ElementsAre(0, 1, 2, 3, 4, 5, 254, 255));
}

TEST_F(InputDecoderTest, ReadsInt32InPlace) {
  v1::PredictRequest request = Request();
  *request.mutable_inputs(1)->mutable_tensor() =
      Tensor<int32_t>(v1::DATA_TYPE_INT32, {2, 3}, {5, 4, 3, 2, 1, 0});
  const auto decoded = Decode(request);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->matrices[0].data,
            request.inputs(1).tensor().data().data());
}

TEST_F(InputDecoderTest, OneSequenceMayLeaveTheBatchDimensionOut) {
  v1::PredictRequest request;
  Add(request, "picture",
      Tensor<uint8_t>(v1::DATA_TYPE_UINT8, {2, 2}, {1, 2, 3, 4}));
  Add(request, "mask", Tensor<uint8_t>(v1::DATA_TYPE_UINT8, {2}, {1, 0}));
  Add(request, "ids", Tensor<int64_t>(v1::DATA_TYPE_INT64, {2}, {5, 6}));
  const auto decoded = Decode(request);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->rows, 1);
  EXPECT_EQ(decoded->tokens, 2);
  EXPECT_THAT(Values<int32_t>(decoded->matrices[1]), ElementsAre(1, 0));
}

TEST_F(InputDecoderTest, RefusesNumbersBeyondTheLimitAndSaysWhere) {
  for (const int64_t bad : {int64_t{100}, int64_t{-1}, int64_t{1} << 32}) {
    v1::PredictRequest request = Request();
    *request.mutable_inputs(1)->mutable_tensor() =
        Tensor<int64_t>(v1::DATA_TYPE_INT64, {2, 3}, {0, 1, 2, 97, 98, bad});
    EXPECT_EQ(Error(request),
              absl::StrCat("inputs[1].tensor.data: input 'ids': got ", bad,
                           " at row 1, element 2, wanted 0 to 99"));
  }
}

TEST_F(InputDecoderTest, RefusesInputsThatDiffer) {
  v1::PredictRequest request = Request();
  Add(request, "mask",
      Tensor<int64_t>(v1::DATA_TYPE_INT64, {2, 2}, {1, 1, 1, 1}));
  EXPECT_EQ(
      Error(request),
      "inputs[2].tensor.shape: input 'mask': got 2 tokens per row, wanted 3 "
      "as input 'ids'");
  *request.mutable_inputs(2)->mutable_tensor() =
      Tensor<int64_t>(v1::DATA_TYPE_INT64, {1, 3}, {1, 1, 1});
  EXPECT_EQ(Error(request),
            "inputs[2].tensor.shape: input 'mask': got 1 rows, wanted 2 as "
            "input 'picture'");
}

TEST_F(InputDecoderTest, RefusesLengthsThatTheModelDoesNotTake) {
  for (const int64_t length : {0, 7}) {
    v1::PredictRequest request;
    Add(request, "ids",
        Tensor<int64_t>(v1::DATA_TYPE_INT64, {1, length},
                        std::vector<int64_t>(static_cast<size_t>(length))));
    EXPECT_EQ(Error(request),
              absl::StrCat("inputs[0].tensor.shape: input 'ids': got sequences "
                           "of ",
                           length, " tokens, wanted 1 to 6"));
  }
}

TEST_F(InputDecoderTest, RefusesUnknownRepeatedAndMissingInputs) {
  v1::PredictRequest request = Request();
  request.mutable_inputs(0)->set_name("image");
  EXPECT_EQ(Error(request),
            "inputs[0].name: got input 'image', wanted 'ids', 'mask', "
            "'picture'");
  request = Request();
  Add(request, "ids", request.inputs(1).tensor());
  EXPECT_EQ(Error(request), "inputs[2].name: got input 'ids' twice");
  request = Request();
  request.mutable_inputs()->RemoveLast();
  EXPECT_EQ(
      Error(request),
      "input: got no input tensor, wanted 'ids' of shape [rows, sequence]");
}

TEST_F(InputDecoderTest, TheFirstInputMayStandAlone) {
  v1::PredictRequest request = Request();
  *request.mutable_input() = request.inputs(1).tensor();
  EXPECT_EQ(Error(request), "inputs[1].name: got input 'ids' twice");
  request.mutable_inputs()->RemoveLast();
  EXPECT_TRUE(Decode(request).ok());
}

TEST_F(InputDecoderTest, RefusesOtherTypes) {
  v1::PredictRequest request = Request();
  request.mutable_inputs(1)->mutable_tensor()->set_datatype(v1::DATA_TYPE_FP32);
  EXPECT_EQ(Error(request),
            "inputs[1].tensor.datatype: input 'ids': got datatype "
            "DATA_TYPE_FP32, wanted DATA_TYPE_INT64");
  request = Request();
  request.mutable_inputs(0)->mutable_tensor()->set_datatype(
      v1::DATA_TYPE_INT32);
  EXPECT_THAT(Error(request), HasSubstr("wanted DATA_TYPE_UINT8"));
}

TEST(DecodeFloats, TakesEveryFloatType) {
  const graph::Port port = {"x", DataType::kF32, {2}};
  const auto decode = [&](v1::DataType type, const std::string& bytes) {
    v1::PredictRequest request;
    request.mutable_input()->set_datatype(type);
    request.mutable_input()->add_shape(2);
    request.mutable_input()->set_data(bytes);
    InputScratch scratch;
    const auto decoded = DecodePredictInput(request, port, scratch);
    if (!decoded.ok()) return std::string(decoded.status().message());
    const float* x = decoded->matrices[0].floats().data;
    return absl::StrCat(x[0], " ", x[1]);
  };
  const double doubles[] = {1.5, -0.25};
  EXPECT_EQ(
      decode(v1::DATA_TYPE_FP64, {reinterpret_cast<const char*>(doubles), 16}),
      "1.5 -0.25");
  EXPECT_EQ(decode(v1::DATA_TYPE_FP16, {"\x00\x3e\x00\xb4", 4}), "1.5 -0.25");
  EXPECT_EQ(decode(v1::DATA_TYPE_BF16, {"\xc0\x3f\x80\xbe", 4}), "1.5 -0.25");
  const double too_large[] = {1, 1e300};
  EXPECT_EQ(
      decode(v1::DATA_TYPE_FP64,
             {reinterpret_cast<const char*>(too_large), 16}),
      "input 'x': got 1e+300 at row 0, element 1, wanted values within the "
      "range of FP32");
  EXPECT_EQ(decode(v1::DATA_TYPE_FP16, {"\x00\x3e\x00", 3}),
            "input 'x': got 3 bytes of data, wanted 4 (1 rows x 2 FP16 "
            "values)");
}

TEST_F(InputDecoderTest, TheOpenProtocolTakesTypedAndRawContents) {
  const graph::Port output = {"output", DataType::kF32, {2}};
  inference::ModelInferRequest request;
  const auto add = [&](const char* name, const char* type,
                       std::vector<int64_t> shape) {
    auto& input = *request.add_inputs();
    input.set_name(name);
    input.set_datatype(type);
    input.mutable_shape()->Add(shape.begin(), shape.end());
    return input.mutable_contents();
  };
  auto* pixels = add("picture", "UINT8", {1, 2, 2});
  for (const uint32_t value : {1u, 2u, 3u, 255u}) {
    pixels->add_uint_contents(value);
  }
  auto* mask = add("mask", "BOOL", {1, 2});
  mask->add_bool_contents(true);
  mask->add_bool_contents(false);
  auto* ids = add("ids", "INT64", {1, 2});
  ids->add_int64_contents(7);
  ids->add_int64_contents(8);
  const auto decoded = DecodeInferInput(request, spec_, output, scratch_);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_THAT(Values<int32_t>(decoded->matrices[0]), ElementsAre(7, 8));
  EXPECT_THAT(Values<int32_t>(decoded->matrices[1]), ElementsAre(1, 0));
  EXPECT_THAT(Values<float>(decoded->matrices[2]), ElementsAre(1, 2, 3, 255));

  pixels->set_uint_contents(3, 256);
  EXPECT_EQ(
      DecodeInferInput(request, spec_, output, scratch_).status().message(),
      "input 'picture': got 256 at element 3, wanted 0 to 255");
  pixels->set_uint_contents(3, 0);
  request.add_raw_input_contents("");
  EXPECT_THAT(std::string(DecodeInferInput(request, spec_, output, scratch_)
                              .status()
                              .message()),
              HasSubstr("got 1 raw_input_contents for 3 inputs, wanted 3"));
  request.clear_raw_input_contents();
  add("ids", "INT64", {1, 2});
  EXPECT_EQ(
      DecodeInferInput(request, spec_, output, scratch_).status().message(),
      "got 4 inputs, wanted 1 to 3");
}

}  // namespace
}  // namespace fff::rpc

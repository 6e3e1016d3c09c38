#include "server/rpc/messages/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "server/rpc/messages/bad_field.h"
#include "server/rpc/messages/request_options.h"

namespace fff::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const graph::Port kInput = {"input", tensor::DataType::kF32, {3}, {}};
const graph::Port kOutput = {"output", tensor::DataType::kF32, {2}, {}};
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::string Bytes(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size() * sizeof(float));
}

std::vector<float> Values(const DecodedInputs& inputs) {
  const tensor::ConstRows rows = inputs.matrices[0].floats();
  return std::vector<float>(rows.data, rows.data + rows.rows * rows.width);
}

v1::PredictRequest Predict(std::vector<int64_t> shape, const std::string& data,
                           v1::DataType type = v1::DATA_TYPE_FP32) {
  v1::PredictRequest request;
  request.mutable_input()->mutable_shape()->Add(shape.begin(), shape.end());
  request.mutable_input()->set_datatype(type);
  request.mutable_input()->set_data(data);
  return request;
}

// Code and message alone; which field was wrong has tests of its own.
absl::Status Bare(const absl::Status& status) {
  return absl::Status(status.code(), status.message());
}

absl::Status PredictError(const v1::PredictRequest& request,
                          const InputSpec& spec = kInput) {
  InputScratch scratch;
  return Bare(DecodePredictInput(request, spec, scratch).status());
}

TEST(DecodePredict, ReadsRowsInPlace) {
  const v1::PredictRequest request = Predict({2, 3}, Bytes({1, 2, 3, 4, 5, 6}));
  InputScratch scratch;
  const auto rows = DecodePredictInput(request, kInput, scratch);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->rows, 2);
  EXPECT_EQ(rows->matrices[0].width, 3);
  EXPECT_THAT(Values(*rows), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(rows->matrices[0].data,
            static_cast<const void*>(request.input().data().data()));
  EXPECT_EQ(scratch[0].size(), 0);
}

TEST(DecodePredict, ReadsTheShapeWithoutABatchDimensionAsOneRow) {
  InputScratch scratch;
  const v1::PredictRequest request = Predict({3}, Bytes({1, 2, 3}));
  const auto rows = DecodePredictInput(request, kInput, scratch);
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows->rows, 1);
  EXPECT_EQ(rows->matrices[0].width, 3);
}

TEST(DecodePredict, ReadsInputsOfSeveralDimensions) {
  const graph::Port image = {"image", tensor::DataType::kF32, {2, 2}, {}};
  InputScratch scratch;
  const v1::PredictRequest batch =
      Predict({3, 2, 2}, Bytes(std::vector<float>(12, 1)));
  const auto rows = DecodePredictInput(batch, image, scratch);
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows->rows, 3);
  EXPECT_EQ(rows->matrices[0].width, 4);
  const v1::PredictRequest one =
      Predict({2, 2}, Bytes(std::vector<float>(4, 1)));
  EXPECT_EQ(DecodePredictInput(one, image, scratch)->rows, 1);
  // The same number of elements in another shape is another tensor.
  EXPECT_EQ(PredictError(Predict({4}, Bytes(std::vector<float>(4))), image),
            absl::InvalidArgumentError(
                "input 'image': got shape [4], wanted [rows, 2, 2]"));
}

TEST(DecodePredict, RefusesARequestWithoutInput) {
  EXPECT_EQ(PredictError(v1::PredictRequest()),
            absl::InvalidArgumentError(
                "got no input tensor, wanted 'input' of shape [rows, 3]"));
}

TEST(DecodePredict, RefusesOtherDataTypes) {
  EXPECT_EQ(PredictError(
                Predict({1, 3}, Bytes({1, 2, 3}), v1::DATA_TYPE_UNSPECIFIED)),
            absl::InvalidArgumentError(
                "input 'input': got datatype DATA_TYPE_UNSPECIFIED, wanted "
                "DATA_TYPE_FP32"));
  EXPECT_EQ(PredictError(Predict({1, 3}, Bytes({1, 2, 3}),
                                 static_cast<v1::DataType>(77))),
            absl::InvalidArgumentError(
                "input 'input': got datatype 77, wanted DATA_TYPE_FP32"));
}

TEST(DecodePredict, RefusesAnotherRowWidthOrRank) {
  const auto error = [](std::vector<int64_t> shape) {
    return std::string(PredictError(Predict(std::move(shape), "")).message());
  };
  EXPECT_EQ(error({2, 4}), "input 'input': got shape [2, 4], wanted [rows, 3]");
  EXPECT_EQ(error({4}), "input 'input': got shape [4], wanted [rows, 3]");
  EXPECT_EQ(error({}), "input 'input': got shape [], wanted [rows, 3]");
  EXPECT_EQ(error({1, 1, 3}),
            "input 'input': got shape [1, 1, 3], wanted [rows, 3]");
  EXPECT_EQ(error({1, -3}),
            "input 'input': got shape [1, -3], wanted [rows, 3]");
  EXPECT_EQ(error(std::vector<int64_t>(100000, 3)),
            "input 'input': got shape of rank 100000, wanted [rows, 3]");
}

TEST(DecodePredict, RefusesZeroAndNegativeRows) {
  EXPECT_EQ(PredictError(Predict({0, 3}, "")),
            absl::InvalidArgumentError(
                "input 'input': got 0 rows, wanted at least 1"));
  EXPECT_EQ(PredictError(Predict({-1, 3}, Bytes({1, 2, 3}))),
            absl::InvalidArgumentError(
                "input 'input': got -1 rows, wanted at least 1"));
  EXPECT_EQ(PredictError(Predict({std::numeric_limits<int64_t>::min(), 3}, ""))
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(DecodePredict, RefusesShapesWhoseProductOverflows) {
  EXPECT_EQ(PredictError(Predict({int64_t{1} << 40, 3}, Bytes({1, 2, 3}))),
            absl::InvalidArgumentError(
                "input: shape [1099511627776, 3] has more than 1099511627776 "
                "elements"));
  for (const int64_t rows : {int64_t{1} << 62, (int64_t{1} << 62) / 3 + 1,
                             std::numeric_limits<int64_t>::max()}) {
    EXPECT_THAT(std::string(PredictError(Predict({rows, 3}, "")).message()),
                HasSubstr("has more than 1099511627776 elements"));
  }
}

TEST(DecodePredict, RefusesBytesThatDoNotFillTheShape) {
  const auto error = [](size_t bytes) {
    return PredictError(Predict({2, 3}, std::string(bytes, '\0')));
  };
  EXPECT_TRUE(error(24).ok());
  EXPECT_EQ(error(20),
            absl::InvalidArgumentError(
                "input 'input': got 20 bytes of data, wanted 24 (2 rows x 3 "
                "FP32 values)"));
  for (const size_t bytes : {0u, 1u, 23u, 25u, 48u}) {
    EXPECT_EQ(error(bytes).code(), absl::StatusCode::kInvalidArgument);
  }
  // Many rows announced, few sent: nothing is allocated for them.
  EXPECT_EQ(PredictError(Predict({int64_t{1} << 38, 3}, "abcd")),
            absl::InvalidArgumentError(
                "input 'input': got 4 bytes of data, wanted 3298534883328 "
                "(274877906944 rows x 3 FP32 values)"));
}

InputSpec Finite(const graph::Port& port) {
  InputSpec spec = port;
  spec.refuse_non_finite = true;
  return spec;
}

TEST(DecodePredict, TakesNanAndInfinityAndCountsTheirRows) {
  InputScratch scratch;
  const v1::PredictRequest request =
      Predict({3, 3}, Bytes({1, kNan, kInfinity, 4, 5, 6, 7, 8, -kInfinity}));
  const auto taken = DecodePredictInput(request, kInput, scratch);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->non_finite_rows, 2);
  EXPECT_EQ(Values(*taken)[2], kInfinity);
  EXPECT_TRUE(std::isnan(Values(*taken)[1]));
  const auto finite =
      DecodePredictInput(Predict({3}, Bytes({1, 2, 3})), kInput, scratch);
  ASSERT_TRUE(finite.ok());
  EXPECT_EQ(finite->non_finite_rows, 0);
}

TEST(DecodePredict, RefusesNanAndInfinityAndSaysWhere) {
  const InputSpec finite = Finite(kInput);
  EXPECT_EQ(PredictError(Predict({2, 3}, Bytes({1, 2, 3, 4, 5, kNan})), finite),
            absl::InvalidArgumentError(
                "input 'input': got nan at row 1, element 2, wanted finite "
                "values"));
  EXPECT_EQ(
      PredictError(Predict({2, 3}, Bytes({kInfinity, 2, 3, 4, 5, 6})), finite),
      absl::InvalidArgumentError(
          "input 'input': got inf at row 0, element 0, wanted finite "
          "values"));
  EXPECT_EQ(PredictError(Predict({3}, Bytes({1, -kInfinity, kNan})), finite),
            absl::InvalidArgumentError(
                "input 'input': got -inf at row 0, element 1, wanted finite "
                "values"));
}

TEST(DecodePredict, FindsAPoisonedValueAtEveryPosition) {
  const graph::Port wide = {"input", tensor::DataType::kF32, {37}, {}};
  for (size_t at = 0; at < 2 * 37; ++at) {
    std::vector<float> values(2 * 37, 1.0f);
    values[at] = at % 2 == 0 ? kNan : -kInfinity;
    EXPECT_FALSE(
        PredictError(Predict({2, 37}, Bytes(values)), Finite(wide)).ok());
  }
}

TEST(DecodePredict, TakesEveryFiniteValue) {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kTiny = std::numeric_limits<float>::denorm_min();
  InputScratch scratch;
  const v1::PredictRequest request =
      Predict({2, 3}, Bytes({kMax, -kMax, kTiny, -kTiny, -0.0f, 0.0f}));
  const auto rows = DecodePredictInput(request, kInput, scratch);
  ASSERT_TRUE(rows.ok());
  EXPECT_THAT(Values(*rows), ElementsAre(kMax, -kMax, kTiny, -kTiny, 0, 0));
  EXPECT_TRUE(std::signbit(Values(*rows)[4]));
  // As many that whole blocks are looked at.
  const graph::Port wide = {"input", tensor::DataType::kF32, {37}, {}};
  for (const float value : {kMax, -kMax, kTiny, -kTiny, -0.0f}) {
    const v1::PredictRequest all =
        Predict({2, 37}, Bytes(std::vector<float>(2 * 37, value)));
    EXPECT_TRUE(PredictError(all, wide).ok()) << value;
  }
}

TEST(DecodePredict, SaysWhichFieldIsWrong) {
  InputScratch scratch;
  const auto field = [&](const v1::PredictRequest& request) {
    return BadField(DecodePredictInput(request, kInput, scratch).status());
  };
  EXPECT_EQ(field(v1::PredictRequest()), "input");
  EXPECT_EQ(field(Predict({4}, Bytes({1, 2, 3}))), "input.shape");
  EXPECT_EQ(field(Predict({0, 3}, "")), "input.shape");
  EXPECT_EQ(field(Predict({3}, "x")), "input.data");
  const absl::Status not_finite =
      DecodePredictInput(Predict({3}, Bytes({1, 2, kNan})), Finite(kInput),
                         scratch)
          .status();
  EXPECT_EQ(BadField(not_finite), "input.data");
  EXPECT_EQ(field(Predict({3}, Bytes({1, 2, 3}), v1::DATA_TYPE_UNSPECIFIED)),
            "input.datatype");
  EXPECT_EQ(field(Predict({3}, Bytes({1, 2, 3}))), std::nullopt);
}

// One input of one row of three values, typed.
inference::ModelInferRequest Typed(std::vector<float> values = {1, 2, 3}) {
  inference::ModelInferRequest request;
  auto& input = *request.add_inputs();
  input.set_name("input");
  input.set_datatype("FP32");
  input.add_shape(static_cast<int64_t>(values.size()) / 3);
  input.add_shape(3);
  input.mutable_contents()->mutable_fp32_contents()->Add(values.begin(),
                                                         values.end());
  return request;
}

inference::ModelInferRequest Raw(const std::vector<float>& values = {1, 2, 3}) {
  inference::ModelInferRequest request = Typed(values);
  request.mutable_inputs(0)->clear_contents();
  request.add_raw_input_contents(Bytes(values));
  return request;
}

absl::Status InferError(const inference::ModelInferRequest& request,
                        const InputSpec& spec = kInput) {
  InputScratch scratch;
  return DecodeInferInput(request, spec, kOutput, scratch).status();
}

std::string InferMessage(const inference::ModelInferRequest& request,
                         const InputSpec& spec = kInput) {
  const absl::Status status = InferError(request, spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

TEST(DecodeInfer, ReadsRawContentsInPlace) {
  const inference::ModelInferRequest request = Raw({1, 2, 3, 4, 5, 6});
  InputScratch scratch;
  const auto rows = DecodeInferInput(request, kInput, kOutput, scratch);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->rows, 2);
  EXPECT_THAT(Values(*rows), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(rows->matrices[0].data,
            static_cast<const void*>(request.raw_input_contents(0).data()));
}

TEST(DecodeInfer, ReadsTypedContentsInPlace) {
  const inference::ModelInferRequest request = Typed({1, 2, 3, 4, 5, 6});
  InputScratch scratch;
  const auto rows = DecodeInferInput(request, kInput, kOutput, scratch);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->rows, 2);
  EXPECT_EQ(rows->matrices[0].data,
            request.inputs(0).contents().fp32_contents().data());
}

TEST(DecodeInfer, RefusesRawAndTypedContentsTogether) {
  inference::ModelInferRequest request = Typed();
  request.add_raw_input_contents(Bytes({1, 2, 3}));
  EXPECT_EQ(InferMessage(request),
            "input 'input': got both contents and raw_input_contents, wanted "
            "one of them");
}

TEST(DecodeInfer, RefusesContentsOfOtherTypes) {
  using Contents = inference::InferTensorContents;
  const auto message = [](void (*fill)(Contents&)) {
    inference::ModelInferRequest request = Typed();
    request.mutable_inputs(0)->mutable_contents()->clear_fp32_contents();
    fill(*request.mutable_inputs(0)->mutable_contents());
    return InferMessage(request);
  };
  const auto wanted = [](const std::string& field) {
    return "input 'input': got contents." + field +
           ", wanted contents.fp32_contents or raw_input_contents";
  };
  EXPECT_EQ(message([](Contents& c) { c.add_bool_contents(true); }),
            wanted("bool_contents"));
  EXPECT_EQ(message([](Contents& c) { c.add_int_contents(1); }),
            wanted("int_contents"));
  EXPECT_EQ(message([](Contents& c) { c.add_int64_contents(1); }),
            wanted("int64_contents"));
  EXPECT_EQ(message([](Contents& c) { c.add_uint_contents(1); }),
            wanted("uint_contents"));
  EXPECT_EQ(message([](Contents& c) { c.add_uint64_contents(1); }),
            wanted("uint64_contents"));
  EXPECT_EQ(message([](Contents& c) { c.add_fp64_contents(1); }),
            wanted("fp64_contents"));
  EXPECT_EQ(message([](Contents& c) { c.add_bytes_contents("x"); }),
            wanted("bytes_contents"));
}

TEST(DecodeInfer, RefusesAWrongNumberOfTypedValues) {
  inference::ModelInferRequest request = Typed();
  request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(4);
  EXPECT_EQ(InferMessage(request),
            "input 'input': got 4 fp32_contents, wanted 3 (1 rows x 3)");
  request.mutable_inputs(0)->clear_contents();
  EXPECT_EQ(InferMessage(request),
            "input 'input': got 0 fp32_contents, wanted 3 (1 rows x 3)");
}

TEST(DecodeInfer, RefusesAWrongNumberOfRawBytes) {
  inference::ModelInferRequest request = Raw();
  request.mutable_raw_input_contents(0)->push_back('x');
  EXPECT_EQ(InferMessage(request),
            "input 'input': got 13 bytes of data, wanted 12 (1 rows x 3 FP32 "
            "values)");
  request.set_raw_input_contents(0, "");
  EXPECT_EQ(InferMessage(request),
            "input 'input': got 0 bytes of data, wanted 12 (1 rows x 3 FP32 "
            "values)");
}

TEST(DecodeInfer, RefusesMoreRawContentsThanInputs) {
  inference::ModelInferRequest request = Raw();
  request.add_raw_input_contents("");
  EXPECT_EQ(InferMessage(request),
            "got 2 raw_input_contents for 1 input, wanted 1");
}

TEST(DecodeInfer, WantsExactlyOneInput) {
  EXPECT_EQ(InferMessage(inference::ModelInferRequest()),
            "got 0 inputs, wanted 1, named 'input'");
  inference::ModelInferRequest request = Typed();
  *request.add_inputs() = request.inputs(0);
  EXPECT_EQ(InferMessage(request), "got 2 inputs, wanted 1, named 'input'");
}

TEST(DecodeInfer, RefusesAnotherInputName) {
  inference::ModelInferRequest request = Typed();
  request.mutable_inputs(0)->set_name("in\nput");
  EXPECT_EQ(InferMessage(request), "got input 'in\\x0aput', wanted 'input'");
  request.mutable_inputs(0)->set_name("");
  EXPECT_EQ(InferMessage(request), "got input '', wanted 'input'");
  request.mutable_inputs(0)->set_name(std::string(1 << 20, 'x'));
  EXPECT_LT(InferMessage(request).size(), 400u);
}

TEST(DecodeInfer, RefusesOtherDataTypes) {
  for (const std::string type : {"BYTES", "UINT8", "INT64", "fp32", ""}) {
    inference::ModelInferRequest request = Typed();
    request.mutable_inputs(0)->set_datatype(type);
    EXPECT_EQ(InferMessage(request),
              "input 'input': got datatype '" + type + "', wanted FP32");
  }
}

TEST(DecodeInfer, WantsABatchDimension) {
  inference::ModelInferRequest request = Typed();
  request.mutable_inputs(0)->clear_shape();
  request.mutable_inputs(0)->add_shape(3);
  EXPECT_EQ(InferMessage(request),
            "input 'input': got shape [3], wanted [rows, 3]");
}

TEST(DecodeInfer, RefusesBadShapes) {
  const auto message = [](int64_t rows) {
    inference::ModelInferRequest request = Raw();
    request.mutable_inputs(0)->set_shape(0, rows);
    return InferMessage(request);
  };
  EXPECT_EQ(message(0), "input 'input': got 0 rows, wanted at least 1");
  EXPECT_EQ(message(-5), "input 'input': got -5 rows, wanted at least 1");
  EXPECT_THAT(message(int64_t{1} << 61), HasSubstr("has more than"));
  EXPECT_EQ(message(2),
            "input 'input': got 12 bytes of data, wanted 24 (2 rows x 3 FP32 "
            "values)");
}

TEST(DecodeInfer, RefusesNanAndInfinityInBothKindsOfContents) {
  const InputSpec finite = Finite(kInput);
  EXPECT_EQ(InferMessage(Typed({1, 2, 3, kNan, 5, 6}), finite),
            "input 'input': got nan at row 1, element 0, wanted finite values");
  EXPECT_EQ(InferMessage(Raw({1, 2, kInfinity}), finite),
            "input 'input': got inf at row 0, element 2, wanted finite values");
}

TEST(DecodeInfer, RefusesSharedMemory) {
  inference::ModelInferRequest request = Raw();
  (*request.mutable_inputs(0)->mutable_parameters())["shared_memory_region"]
      .set_string_param("region");
  EXPECT_EQ(InferMessage(request),
            "input 'input': shared memory is not supported, send the tensor's "
            "contents");
}

TEST(DecodeInfer, SaysWhichFieldIsWrong) {
  using Request = inference::ModelInferRequest;
  const auto field = [](void (*spoil)(Request&)) {
    Request request = Raw();
    spoil(request);
    return BadField(InferError(request)).value_or("none");
  };
  EXPECT_EQ(field([](Request&) {}), "none");
  EXPECT_EQ(field([](Request& r) { r.clear_inputs(); }), "inputs");
  EXPECT_EQ(field([](Request& r) { r.mutable_inputs(0)->set_name("x"); }),
            "inputs[0].name");
  EXPECT_EQ(field([](Request& r) { r.mutable_inputs(0)->set_datatype("x"); }),
            "inputs[0].datatype");
  EXPECT_EQ(field([](Request& r) { r.mutable_inputs(0)->add_shape(2); }),
            "inputs[0].shape");
  EXPECT_EQ(field([](Request& r) { r.mutable_inputs(0)->mutable_contents(); }),
            "inputs[0].contents");
  EXPECT_EQ(field([](Request& r) { r.clear_raw_input_contents(); }),
            "inputs[0].contents");
  EXPECT_EQ(field([](Request& r) { r.add_raw_input_contents(); }),
            "raw_input_contents");
  EXPECT_EQ(field([](Request& r) { r.set_raw_input_contents(0, "x"); }),
            "raw_input_contents[0]");
  EXPECT_EQ(field([](Request& r) { r.add_outputs()->set_name("x"); }),
            "outputs");
}

TEST(DecodeInfer, TakesParametersItDoesNotUse) {
  inference::ModelInferRequest request = Raw();
  (*request.mutable_parameters())["triton_enable_empty_final_response"]
      .set_bool_param(false);
  (*request.mutable_parameters())["priority"].set_uint64_param(1);
  (*request.mutable_inputs(0)->mutable_parameters())["binary_data"]
      .set_bool_param(true);
  EXPECT_TRUE(InferError(request).ok());
}

TEST(DecodeInfer, TakesTheOutputAskedForOnceOrNone) {
  inference::ModelInferRequest request = Raw();
  EXPECT_TRUE(InferError(request).ok());
  request.add_outputs()->set_name("output");
  EXPECT_TRUE(InferError(request).ok());
  request.add_outputs()->set_name("output");
  EXPECT_EQ(InferMessage(request),
            "got output 'output' requested twice, wanted once");
}

TEST(DecodeInfer, RefusesOutputsThatTheModelDoesNotHave) {
  inference::ModelInferRequest request = Raw();
  request.add_outputs()->set_name("logits");
  EXPECT_EQ(InferMessage(request),
            "got requested output 'logits', wanted 'output' or none (all)");
}

TEST(DecodeInfer, RefusesOutputExtensions) {
  inference::ModelInferRequest request = Raw();
  auto& output = *request.add_outputs();
  output.set_name("output");
  (*output.mutable_parameters())["shared_memory_region"].set_int64_param(3);
  EXPECT_EQ(InferMessage(request),
            "output 'output': the shared memory extension is not supported");
}

TEST(DecodeInfer, TakesTheIdsOfTheStrongestAsAnOutputWhereTheyAreAsked) {
  inference::ModelInferRequest request = Raw();
  request.add_outputs()->set_name("output_ids");
  EXPECT_EQ(InferMessage(request),
            "got requested output 'output_ids', wanted 'output' or none (all)");
  (*request.mutable_parameters())["top_k"].set_int64_param(1);
  EXPECT_TRUE(InferError(request).ok());
}

TEST(DecodeVersion, IsTheDefaultWhenEmpty) {
  EXPECT_EQ(DecodeVersion("").value(), 0);
}

TEST(DecodeVersion, ReadsPositiveDecimals) {
  EXPECT_EQ(DecodeVersion("1").value(), 1);
  EXPECT_EQ(DecodeVersion("120").value(), 120);
  EXPECT_EQ(DecodeVersion("9223372036854775807").value(),
            std::numeric_limits<int64_t>::max());
}

TEST(DecodeVersion, RefusesEverythingElse) {
  for (const std::string version :
       {"0", "-1", "x", "1 ", " 1", "+1", "1.0", "1e3", "0x1",
        "9223372036854775808", "latest"}) {
    EXPECT_EQ(Bare(DecodeVersion(version).status()),
              absl::InvalidArgumentError(
                  "got model version '" + version +
                  "', wanted a positive decimal number or nothing"));
  }
  EXPECT_THAT(
      std::string(DecodeVersion(std::string(1 << 20, '9')).status().message()),
      HasSubstr("... (1048576 bytes)'"));
}

std::chrono::microseconds Timeout(const inference::InferParameter& value) {
  inference::ModelInferRequest request;
  (*request.mutable_parameters())["timeout"] = value;
  const auto timeout = DecodeTimeout(request);
  return timeout.ok() ? *timeout : std::chrono::microseconds(-1);
}

TEST(DecodeTimeout, IsZeroWhenAbsent) {
  EXPECT_EQ(DecodeTimeout(inference::ModelInferRequest())->count(), 0);
}

TEST(DecodeTimeout, OfOurOwnApiIsMicroseconds) {
  v1::PredictRequest request;
  EXPECT_EQ(DecodeTimeout(request)->count(), 0);
  request.set_timeout_us(1500);
  EXPECT_EQ(DecodeTimeout(request)->count(), 1500);
  request.set_timeout_us(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(*DecodeTimeout(request), std::chrono::hours(24));
  request.set_timeout_us(-1);
  EXPECT_EQ(Bare(DecodeTimeout(request).status()),
            absl::InvalidArgumentError(
                "got timeout_us -1, wanted 0 (none) or above"));
}

TEST(DecodeTimeout, ReadsBothIntegerTypes) {
  inference::InferParameter value;
  value.set_int64_param(1500);
  EXPECT_EQ(Timeout(value).count(), 1500);
  value.set_uint64_param(2500);
  EXPECT_EQ(Timeout(value).count(), 2500);
  value.set_int64_param(0);
  EXPECT_EQ(Timeout(value).count(), 0);
}

TEST(DecodeTimeout, IsAtMostADay) {
  inference::InferParameter value;
  value.set_int64_param(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Timeout(value), std::chrono::hours(24));
}

TEST(DecodeTimeout, RefusesEverythingElse) {
  std::vector<inference::InferParameter> values(6);
  values[0].set_int64_param(-1);
  values[1].set_uint64_param(std::numeric_limits<uint64_t>::max());
  values[2].set_string_param("1500");
  values[3].set_double_param(1.5);
  values[4].set_bool_param(true);
  for (const inference::InferParameter& value : values) {
    inference::ModelInferRequest request;
    (*request.mutable_parameters())["timeout"] = value;
    EXPECT_EQ(Bare(DecodeTimeout(request).status()),
              absl::InvalidArgumentError("parameter 'timeout': wanted a "
                                         "non-negative integer of "
                                         "microseconds"));
  }
}

}  // namespace
}  // namespace fff::rpc

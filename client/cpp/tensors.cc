#include "client/cpp/tensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"

namespace fff::client {
namespace {

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire is little-endian and tensors are copied as they lie in memory"
#endif

// The whole numbers of `bytes`, little-endian as on the wire. memcpy may not be
// given the null pointer of an empty vector.
template <typename T>
std::vector<T> NumbersOf(const std::string& bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  if (!numbers.empty()) {
    std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(T));
  }
  return numbers;
}

// Columns of [rows, ...]; every product is checked against the bytes there are,
// so nothing can overflow.
absl::StatusOr<int64_t> OutputWidth(const v1::Tensor& tensor, int64_t rows) {
  const std::string what =
      absl::StrCat("the server answered a tensor of shape [",
                   absl::StrJoin(tensor.shape(), ", "), "] with ",
                   tensor.data().size(), " bytes");
  if (tensor.datatype() != v1::DATA_TYPE_FP32) {
    return absl::InternalError(absl::StrCat(
        what, " of datatype ", v1::DataType_Name(tensor.datatype()),
        ", wanted DATA_TYPE_FP32"));
  }
  const auto floats = static_cast<int64_t>(tensor.data().size() / 4);
  if (tensor.shape_size() < 1 || tensor.shape(0) != rows) {
    return absl::InternalError(absl::StrCat(what, ", wanted ", rows, " rows"));
  }
  int64_t width = 1;
  for (int i = 1; i < tensor.shape_size(); ++i) {
    const int64_t size = tensor.shape(i);
    if (size < 1 || width > floats / size) {
      return absl::InternalError(absl::StrCat(what, ", which do not fit"));
    }
    width *= size;
  }
  if (tensor.data().size() % 4 != 0 || rows < 1 || floats % rows != 0 ||
      floats / rows != width) {
    return absl::InternalError(absl::StrCat(what, ", which do not fit"));
  }
  return width;
}

// 0 for a datatype that this client does not know.
int64_t ElementBytes(v1::DataType type) {
  switch (type) {
    case v1::DATA_TYPE_UINT8:
      return 1;
    case v1::DATA_TYPE_FP16:
    case v1::DATA_TYPE_BF16:
      return 2;
    case v1::DATA_TYPE_FP32:
    case v1::DATA_TYPE_INT32:
      return 4;
    case v1::DATA_TYPE_FP64:
    case v1::DATA_TYPE_INT64:
      return 8;
    default:
      return 0;
  }
}

// Divides the bytes by every size in turn, so nothing can overflow.
bool ShapeFits(const NamedInput& input) {
  auto left = static_cast<int64_t>(input.bytes.size());
  const int64_t element = ElementBytes(input.type);
  if (element == 0 || left % element != 0) return false;
  left /= element;
  for (const int64_t size : input.shape) {
    if (size < 1 || left % size != 0) return false;
    left /= size;
  }
  return left == 1;
}

absl::Status CheckInputs(absl::Span<const NamedInput> inputs) {
  if (inputs.empty()) {
    return absl::InvalidArgumentError("got no input, wanted at least one");
  }
  for (const NamedInput& input : inputs) {
    const std::string what =
        absl::StrCat("input '", input.name, "' of shape [",
                     absl::StrJoin(input.shape, ", "), "]");
    const auto same_name = [&](const NamedInput& other) {
      return other.name == input.name;
    };
    if (std::count_if(inputs.begin(), inputs.end(), same_name) > 1) {
      return absl::InvalidArgumentError(absl::StrCat(what, " is given twice"));
    }
    if (input.shape.empty() || !ShapeFits(input)) {
      return absl::InvalidArgumentError(absl::StrCat(
          what, ": got ", input.bytes.size(), " bytes of datatype ",
          v1::DataType_Name(input.type), ", which do not fit"));
    }
    if (input.shape[0] != inputs[0].shape[0]) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": got ", input.shape[0], " rows, wanted ",
                       inputs[0].shape[0], " as in '", inputs[0].name, "'"));
    }
  }
  return absl::OkStatus();
}

// All of a request but its inputs and its time limit.
v1::PredictRequest Asking(const std::string& model,
                          const PredictOptions& options) {
  v1::PredictRequest request;
  request.set_model(model);
  request.set_version(options.version);
  request.set_include_routing(options.routing);
  request.set_include_labels(options.labels);
  request.set_request_id(options.request_id);
  request.set_top_k(options.top_k);
  request.mutable_outputs()->Add(options.outputs.begin(),
                                 options.outputs.end());
  return request;
}

// Everything of the main output.
absl::Status DecodeMain(const v1::PredictResponse& response, int64_t rows,
                        Prediction& prediction) {
  // It is absent where the request names others alone.
  const bool absent =
      response.output().shape().empty() && response.outputs_size() > 0;
  if (absent) return absl::OkStatus();
  FFF_ASSIGN_OR_RETURN(prediction.width, OutputWidth(response.output(), rows));
  prediction.shape.assign(response.output().shape().begin(),
                          response.output().shape().end());
  prediction.output = NumbersOf<float>(response.output().data());
  prediction.top_ids = NumbersOf<int64_t>(response.top_ids().data());
  if (response.has_top_ids() &&
      prediction.top_ids.size() != prediction.output.size()) {
    return absl::InternalError(
        absl::StrCat("the server answered ", prediction.top_ids.size(),
                     " ids of ", prediction.output.size(), " numbers"));
  }
  prediction.labels.assign(response.labels().begin(), response.labels().end());
  // One per row, per token of each, or per number of the strongest.
  const size_t labels = prediction.labels.size();
  if (labels > 0 && (labels % static_cast<size_t>(rows) != 0 ||
                     prediction.output.size() % labels != 0)) {
    return absl::InternalError(absl::StrCat("the server answered ", labels,
                                            " labels for ", rows, " rows"));
  }
  return absl::OkStatus();
}

}  // namespace

v1::Tensor EncodeRows(Rows rows, const std::vector<int64_t>& row_shape) {
  v1::Tensor tensor;
  tensor.add_shape(rows.rows);
  for (const int64_t size : row_shape) tensor.add_shape(size);
  if (row_shape.empty()) tensor.add_shape(rows.width);
  tensor.set_datatype(v1::DATA_TYPE_FP32);
  tensor.mutable_data()->assign(
      reinterpret_cast<const char*>(rows.data),
      static_cast<size_t>(rows.rows * rows.width) * sizeof(float));
  return tensor;
}

v1::PredictRequest EncodeRequest(const std::string& model, Rows input,
                                 const PredictOptions& options) {
  v1::PredictRequest request = Asking(model, options);
  *request.mutable_input() = EncodeRows(input, options.row_shape);
  return request;
}

absl::StatusOr<v1::PredictRequest> EncodeRequest(
    const std::string& model, absl::Span<const NamedInput> inputs,
    const PredictOptions& options) {
  FFF_RETURN_IF_ERROR(CheckInputs(inputs));
  v1::PredictRequest request = Asking(model, options);
  for (const NamedInput& input : inputs) {
    v1::NamedTensor* named = nullptr;
    if (!input.name.empty()) {
      named = request.add_inputs();
      named->set_name(input.name);
    }
    v1::Tensor* tensor =
        named == nullptr ? request.mutable_input() : named->mutable_tensor();
    tensor->mutable_shape()->Assign(input.shape.begin(), input.shape.end());
    tensor->set_datatype(input.type);
    tensor->mutable_data()->assign(input.bytes.data(), input.bytes.size());
  }
  return request;
}

absl::StatusOr<Prediction> DecodePrediction(v1::PredictResponse response,
                                            int64_t rows) {
  Prediction prediction;
  FFF_RETURN_IF_ERROR(DecodeMain(response, rows, prediction));
  prediction.model = response.model();
  prediction.version = response.version();
  prediction.dense = response.implementation() == v1::IMPLEMENTATION_DENSE;
  prediction.rows = rows;
  for (const v1::NamedTensor& named : response.outputs()) {
    const v1::Tensor& tensor = named.tensor();
    NamedOutput other;
    other.name = named.name();
    FFF_ASSIGN_OR_RETURN(other.width, OutputWidth(tensor, rows));
    other.shape.assign(tensor.shape().begin(), tensor.shape().end());
    other.values = NumbersOf<float>(tensor.data());
    prediction.others.push_back(std::move(other));
  }
  for (v1::LayerRouting& layer : *response.mutable_routing()) {
    prediction.routing.push_back(std::move(layer));
  }
  prediction.queue_ns = response.timing().queue_ns();
  prediction.compute_ns = response.timing().compute_ns();
  prediction.batch_rows = response.timing().batch_rows();
  return prediction;
}

}  // namespace fff::client

#include "client/cpp/tensors.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"

namespace fff::client {
namespace {

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire is little-endian and tensors are copied as they lie in memory"
#endif

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
  v1::PredictRequest request;
  request.set_model(model);
  request.set_version(options.version);
  *request.mutable_input() = EncodeRows(input, options.row_shape);
  request.set_include_routing(options.routing);
  request.set_include_labels(options.labels);
  request.set_request_id(options.request_id);
  return request;
}

absl::StatusOr<Prediction> DecodePrediction(v1::PredictResponse response,
                                            int64_t rows) {
  Prediction prediction;
  FFF_ASSIGN_OR_RETURN(prediction.width, OutputWidth(response.output(), rows));
  prediction.model = response.model();
  prediction.version = response.version();
  prediction.rows = rows;
  const std::string& data = response.output().data();
  prediction.output.resize(data.size() / sizeof(float));
  std::memcpy(prediction.output.data(), data.data(), data.size());
  prediction.labels.assign(response.labels().begin(), response.labels().end());
  if (!prediction.labels.empty() &&
      static_cast<int64_t>(prediction.labels.size()) != rows) {
    return absl::InternalError(absl::StrCat("the server answered ",
                                            prediction.labels.size(),
                                            " labels for ", rows, " rows"));
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

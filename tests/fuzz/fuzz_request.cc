// The first byte says which message the rest is: 'P' fff.v1.PredictRequest, 'I'
// inference.ModelInferRequest, 'V' a model version. The model has one input of
// three columns and one output of two.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/base/log.h"
#include "server/rpc/decode.h"

namespace {

using fff::model::TensorSpec;
using Rows = absl::StatusOr<fff::tensor::ConstRows>;

constexpr int kColumns = 3;

const TensorSpec& InputSpec() {
  static const auto* const spec = new TensorSpec{"input", {kColumns}, {}};
  return *spec;
}
const TensorSpec& OutputSpec() {
  static const auto* const spec = new TensorSpec{"output", {2}, {}};
  return *spec;
}

void Require(bool promise) {
  if (!promise) std::abort();
}

void CheckError(const absl::Status& status) {
  const std::string message(status.message());
  Require(status.code() == absl::StatusCode::kInvalidArgument);
  Require(fff::base::Printable(message, message.size()) == message);
}

void CheckRows(const Rows& rows) {
  if (!rows.ok()) return CheckError(rows.status());
  Require(rows->rows >= 1 && rows->width == kColumns);
  for (int64_t i = 0; i < rows->rows * kColumns; ++i) {
    Require(std::isfinite(rows->data[i]));
  }
}

void DecodePredict(const std::string& bytes) {
  fff::v1::PredictRequest request;
  if (!request.ParseFromString(bytes)) return;
  fff::tensor::FloatBuffer scratch;
  CheckRows(fff::rpc::DecodePredictInput(request, InputSpec(), scratch));
}

void DecodeInfer(const std::string& bytes) {
  inference::ModelInferRequest request;
  if (!request.ParseFromString(bytes)) return;
  fff::tensor::FloatBuffer scratch;
  CheckRows(
      fff::rpc::DecodeInferInput(request, InputSpec(), OutputSpec(), scratch));
  const auto timeout = fff::rpc::DecodeTimeout(request);
  if (timeout.ok()) {
    Require(timeout->count() >= 0);
  } else {
    CheckError(timeout.status());
  }
}

void DecodeVersion(const std::string& text) {
  const auto version = fff::rpc::DecodeVersion(text);
  if (!version.ok()) return CheckError(version.status());
  Require(*version >= 0 && (*version == 0) == text.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'P':
      DecodePredict(rest);
      break;
    case 'I':
      DecodeInfer(rest);
      break;
    case 'V':
      DecodeVersion(rest);
      break;
    default:
      break;
  }
  return 0;
}

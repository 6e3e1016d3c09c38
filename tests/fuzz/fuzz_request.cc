// The first byte says which message the rest is: 'P' fff.v1.PredictRequest, 'I'
// inference.ModelInferRequest, 'V' a model version. The model has one input of
// three columns and one output of two. Requests are parsed into a new message
// and into one that has held all requests before: both must say the same.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/base/log.h"
#include "server/base/utf8.h"
#include "server/rpc/messages/decode.h"
#include "server/rpc/messages/message_reuse.h"
#include "server/rpc/messages/string_field.h"

namespace {

using fff::graph::Port;
using Rows = absl::StatusOr<fff::tensor::ConstRows>;

constexpr int kColumns = 3;

const Port& InputSpec() {
  static const auto* const spec =
      new Port{"input", fff::tensor::DataType::kF32, {kColumns}, {}};
  return *spec;
}
const Port& OutputSpec() {
  static const auto* const spec =
      new Port{"output", fff::tensor::DataType::kF32, {2}, {}};
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

void RequireSame(const Rows& a, const Rows& b) {
  Require(a.status() == b.status());
  if (!a.ok()) return;
  Require(a->rows == b->rows && a->width == b->width);
  Require(std::equal(a->data, a->data + a->rows * a->width, b->data));
}

// Parses `bytes` into `reused`, which is cleared, as the server does it.
bool ParseReusing(const std::string& bytes,
                  google::protobuf::MessageLite& reused) {
  const grpc::Slice slice(bytes);
  grpc::ByteBuffer buffer(&slice, 1);
  return fff::rpc::ParseInto(buffer, reused);
}

// The id found in bytes that are not parsed is what parsing finds; a long one
// may be left out.
void CheckId(const std::string& bytes, int field, bool parsed,
             const std::string& id) {
  const grpc::Slice slice(bytes);
  grpc::ByteBuffer buffer(&slice, 1);
  const std::string found = fff::rpc::StringField(buffer, field);
  Require(fff::base::IsUtf8(found));
  Require(buffer.Length() == bytes.size());
  if (parsed) Require(found == id || (found.empty() && bytes.size() > 4096));
}

void DecodePredict(const std::string& bytes) {
  static auto* const reused = new fff::v1::PredictRequest;
  fff::rpc::ClearKeepingBuffers(*reused);
  fff::v1::PredictRequest request;
  const bool parsed = request.ParseFromString(bytes);
  Require(ParseReusing(bytes, *reused) == parsed);
  CheckId(bytes, fff::v1::PredictRequest::kRequestIdFieldNumber, parsed,
          request.request_id());
  if (!parsed) return;
  fff::tensor::FloatBuffer scratch;
  const Rows rows = fff::rpc::DecodePredictInput(request, InputSpec(), scratch);
  CheckRows(rows);
  fff::tensor::FloatBuffer reused_scratch;
  RequireSame(
      rows, fff::rpc::DecodePredictInput(*reused, InputSpec(), reused_scratch));
  if (!request.has_input()) reused->clear_input();
  Require(request.SerializeAsString() == reused->SerializeAsString());
}

void DecodeInfer(const std::string& bytes) {
  static auto* const reused = new inference::ModelInferRequest;
  fff::rpc::ClearKeepingBuffers(*reused);
  inference::ModelInferRequest request;
  const bool parsed = request.ParseFromString(bytes);
  Require(ParseReusing(bytes, *reused) == parsed);
  CheckId(bytes, inference::ModelInferRequest::kIdFieldNumber, parsed,
          request.id());
  if (!parsed) return;
  fff::tensor::FloatBuffer scratch;
  const Rows rows =
      fff::rpc::DecodeInferInput(request, InputSpec(), OutputSpec(), scratch);
  CheckRows(rows);
  fff::tensor::FloatBuffer reused_scratch;
  RequireSame(rows, fff::rpc::DecodeInferInput(*reused, InputSpec(),
                                               OutputSpec(), reused_scratch));
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

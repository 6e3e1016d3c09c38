// The first byte says which message the rest is: 'P' fff.v1.PredictRequest, 'I'
// inference.ModelInferRequest, 'V' a model version; small letters, a request to
// another model. That of the capital ones has one input of three columns and
// two outputs, the main one of two; the other has pixels, token ids of
// sequences of up to nine tokens, their mask, and positions whose outputs are
// wanted. Requests are parsed into a new message and into one that has held all
// requests before: both must say the same.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "server/base/log.h"
#include "server/base/utf8.h"
#include "server/rpc/messages/decode.h"
#include "server/rpc/messages/message_reuse.h"
#include "server/rpc/messages/request_options.h"
#include "server/rpc/messages/string_field.h"

namespace {

using fff::graph::Port;
using fff::rpc::InputScratch;
using fff::rpc::InputSpec;
using fff::tensor::DataType;
using Inputs = absl::StatusOr<fff::rpc::DecodedInputs>;

constexpr int kColumns = 3;

constexpr int64_t kTokensMax = 9;

std::vector<Port> SequencePorts() {
  Port pixels = {"pixels", DataType::kU8, {2, 2}};
  Port ids = {"ids", DataType::kI64, {}};
  ids.sequence = true;
  ids.limit = 100;
  Port mask = {"mask", DataType::kI64, {}};
  mask.sequence = true;
  mask.role = Port::Role::kMask;
  mask.optional = true;
  mask.limit = 2;
  return {pixels, ids, mask};
}

const InputSpec& OneInput() {
  static const auto* const port =
      new Port{"input", DataType::kF32, {kColumns}, {}};
  static const auto* const spec = new InputSpec(*port);
  return *spec;
}
const InputSpec& SeveralInputs() {
  static const auto* const ports = new std::vector<Port>(SequencePorts());
  static auto* const spec = new InputSpec(ports->front());
  spec->ports = *ports;
  spec->tokens_max = kTokensMax;
  static auto* const positions = new Port{"at", DataType::kI64, {}};
  positions->sequence = positions->optional = true;
  positions->role = Port::Role::kPositions;
  positions->limit = kTokensMax;
  spec->positions = positions;
  return *spec;
}
const fff::rpc::OutputSpec& Outputs() {
  static const auto* const ports = new std::vector<Port>{
      {"output", DataType::kF32, {2}, {}}, {"hidden", DataType::kF32, {5}, {}}};
  static auto* const spec = new fff::rpc::OutputSpec(ports->front());
  spec->ports = *ports;
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

int64_t CountNonFiniteRows(const fff::tensor::ConstRows& matrix) {
  int64_t found = 0;
  for (int64_t r = 0; r < matrix.rows; ++r) {
    const float* row = matrix.row(r);
    found += std::all_of(row, row + matrix.width,
                         [](float value) { return std::isfinite(value); })
                 ? 0
                 : 1;
  }
  return found;
}

void CheckIntegers(const Port& port, const fff::tensor::TypedRows& matrix) {
  const int64_t count = matrix.rows * matrix.width;
  const auto* values = static_cast<const int32_t*>(matrix.data);
  for (int64_t i = 0; i < count; ++i) {
    Require(values[i] >= 0 && values[i] < port.limit);
  }
}

void CheckInputs(const Inputs& inputs, const InputSpec& spec) {
  if (!inputs.ok()) return CheckError(inputs.status());
  Require(inputs->matrices.size() == spec.ports.size());
  Require(inputs->rows >= 1);
  Require(inputs->tokens >= 1 && inputs->tokens <= spec.tokens_max);
  int64_t non_finite_rows = 0;
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const Port& port = spec.ports[i];
    const fff::tensor::TypedRows& matrix = inputs->matrices[i];
    Require(matrix.type == port.type().data_type);
    Require(matrix.rows == inputs->rows);
    Require(matrix.width ==
            port.width() * (port.sequence ? inputs->tokens : 1));
    Require(matrix.data != nullptr || port.optional);
    if (matrix.data == nullptr) continue;
    if (matrix.type == DataType::kF32) {
      non_finite_rows += CountNonFiniteRows(matrix.floats());
    } else {
      CheckIntegers(port, matrix);
    }
  }
  const auto positions = inputs->Positions();
  Require(positions.empty() || spec.positions != nullptr);
  Require(static_cast<int64_t>(positions.size()) ==
          inputs->rows * inputs->positions_per_row());
  Require(std::all_of(positions.begin(), positions.end(), [&](int32_t place) {
    return place >= 0 && place < inputs->tokens;
  }));
  Require(inputs->non_finite_rows == non_finite_rows);
  Require(non_finite_rows == 0 || !spec.refuse_non_finite);
}

template <class Request>
void CheckOptions(const Request& request) {
  const auto top = fff::rpc::DecodeTopK(request, Outputs());
  const auto wanted = fff::rpc::DecodeOutputs(request, Outputs());
  if (!top.ok()) CheckError(top.status());
  if (!wanted.ok()) CheckError(wanted.status());
  if (wanted.ok()) {
    Require(wanted->size() == Outputs().ports.size());
    Require(std::find(wanted->begin(), wanted->end(), true) != wanted->end());
  }
  if (!top.ok()) return;
  Require(top->k >= 0 && top->k <= Outputs().main().width());
  Require(top->k > 0 || !top->classification);
  if (!wanted.ok()) return;
  const auto fits = fff::rpc::CheckTopKWanted(*top, *wanted, Outputs());
  if (!fits.ok()) CheckError(fits);
}

InputSpec Refusing(InputSpec spec) {
  spec.refuse_non_finite = true;
  return spec;
}

void RequireSame(const Inputs& a, const Inputs& b) {
  Require(a.status() == b.status());
  if (!a.ok()) return;
  Require(a->rows == b->rows && a->tokens == b->tokens);
  Require(a->Positions() == b->Positions());
  for (size_t i = 0; i < a->matrices.size(); ++i) {
    const fff::tensor::TypedRows& left = a->matrices[i];
    const fff::tensor::TypedRows& right = b->matrices[i];
    Require(left.rows == right.rows && left.width == right.width);
    Require((left.data == nullptr) == (right.data == nullptr));
    if (left.data == nullptr) continue;
    const auto bytes = static_cast<size_t>(left.rows * left.row_bytes());
    Require(std::memcmp(left.data, right.data, bytes) == 0);
  }
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

void DecodePredict(const std::string& bytes, const InputSpec& spec) {
  static auto* const reused = new fff::v1::PredictRequest;
  fff::rpc::ClearKeepingBuffers(*reused);
  fff::v1::PredictRequest request;
  const bool parsed = request.ParseFromString(bytes);
  Require(ParseReusing(bytes, *reused) == parsed);
  CheckId(bytes, fff::v1::PredictRequest::kRequestIdFieldNumber, parsed,
          request.request_id());
  if (!parsed) return;
  InputScratch scratch;
  const Inputs inputs = fff::rpc::DecodePredictInput(request, spec, scratch);
  CheckInputs(inputs, spec);
  InputScratch refused_scratch;
  const InputSpec refusing = Refusing(spec);
  CheckInputs(fff::rpc::DecodePredictInput(request, refusing, refused_scratch),
              refusing);
  InputScratch reused_scratch;
  RequireSame(inputs,
              fff::rpc::DecodePredictInput(*reused, spec, reused_scratch));
  CheckOptions(request);
  if (!request.has_input()) reused->clear_input();
  Require(request.SerializeAsString() == reused->SerializeAsString());
}

void DecodeInfer(const std::string& bytes, const InputSpec& spec) {
  static auto* const reused = new inference::ModelInferRequest;
  fff::rpc::ClearKeepingBuffers(*reused);
  inference::ModelInferRequest request;
  const bool parsed = request.ParseFromString(bytes);
  Require(ParseReusing(bytes, *reused) == parsed);
  CheckId(bytes, inference::ModelInferRequest::kIdFieldNumber, parsed,
          request.id());
  if (!parsed) return;
  InputScratch scratch;
  const Inputs inputs =
      fff::rpc::DecodeInferInput(request, spec, Outputs(), scratch);
  CheckInputs(inputs, spec);
  InputScratch refused_scratch;
  const InputSpec refusing = Refusing(spec);
  CheckInputs(
      fff::rpc::DecodeInferInput(request, refusing, Outputs(), refused_scratch),
      refusing);
  InputScratch reused_scratch;
  RequireSame(inputs, fff::rpc::DecodeInferInput(*reused, spec, Outputs(),
                                                 reused_scratch));
  CheckOptions(request);
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
      DecodePredict(rest, OneInput());
      break;
    case 'p':
      DecodePredict(rest, SeveralInputs());
      break;
    case 'I':
      DecodeInfer(rest, OneInput());
      break;
    case 'i':
      DecodeInfer(rest, SeveralInputs());
      break;
    case 'V':
      DecodeVersion(rest);
      break;
    default:
      break;
  }
  return 0;
}

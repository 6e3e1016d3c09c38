#include "server/rpc/messages/decode.h"

#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/rpc/messages/bad_field.h"
#include "server/rpc/messages/request_options.h"

namespace fff::rpc {
namespace {

using InferInput = inference::ModelInferRequest::InferInputTensor;
using tensor::DataType;

// What stands in a field of a sent tensor's typed contents, as bytes.
struct Contents {
  absl::string_view field;
  int64_t count = 0;
  absl::string_view bytes = {};
};

template <class Values>
void AddContents(absl::string_view field, const Values& values,
                 std::vector<Contents>& found) {
  if (values.empty()) return;
  const size_t bytes = static_cast<size_t>(values.size()) * sizeof(values[0]);
  found.push_back({field,
                   values.size(),
                   {reinterpret_cast<const char*>(values.data()), bytes}});
}

// The fields that are not empty. Elements of types that no input has are not
// read.
std::vector<Contents> ContentsOf(const inference::InferTensorContents& sent) {
  std::vector<Contents> found;
  AddContents("fp32_contents", sent.fp32_contents(), found);
  AddContents("fp64_contents", sent.fp64_contents(), found);
  AddContents("int_contents", sent.int_contents(), found);
  AddContents("int64_contents", sent.int64_contents(), found);
  AddContents("bool_contents", sent.bool_contents(), found);
  AddContents("uint_contents", sent.uint_contents(), found);
  if (sent.uint64_contents_size() > 0) found.push_back({"uint64_contents"});
  if (sent.bytes_contents_size() > 0) found.push_back({"bytes_contents"});
  return found;
}

// The protocol's field for elements of a type.
absl::string_view FieldOf(DataType type) {
  switch (type) {
    case DataType::kF64:
      return "fp64_contents";
    case DataType::kI32:
      return "int_contents";
    case DataType::kI64:
      return "int64_contents";
    case DataType::kBool:
      return "bool_contents";
    case DataType::kU8:
      return "uint_contents";
    case DataType::kF32:
      return "fp32_contents";
    default:  // 16 bits travel raw alone
      return "";
  }
}

// Pixels, of which each takes four bytes in typed contents, as bytes.
absl::StatusOr<std::string> Narrowed(absl::string_view words,
                                     const graph::Port& port) {
  std::string bytes;
  bytes.reserve(words.size() / sizeof(uint32_t));
  for (size_t i = 0; i + sizeof(uint32_t) <= words.size();
       i += sizeof(uint32_t)) {
    uint32_t value;
    std::memcpy(&value, words.data() + i, sizeof(value));
    if (value > std::numeric_limits<uint8_t>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input '", port.name, "': got ", value, " at element ",
                       i / sizeof(uint32_t), ", wanted 0 to 255"));
    }
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

absl::Status AddTyped(const InferInput& input, const graph::Port& port,
                      size_t index, DataType type, InputDecoder& decoder) {
  const absl::string_view wanted = FieldOf(type);
  const std::vector<Contents> found = ContentsOf(input.contents());
  for (const Contents& contents : found) {
    if (contents.field == wanted) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("input '", port.name, "': got contents.", contents.field,
                     ", wanted ", wanted.empty() ? "" : "contents.", wanted,
                     wanted.empty() ? "" : " or ", "raw_input_contents"));
  }
  const Contents sent = found.empty() ? Contents() : found[0];
  const int64_t width = decoder.RowWidth(index);
  if (sent.count != decoder.rows() * width) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input '", port.name, "': got ", sent.count, " ",
        wanted.empty() ? "contents" : wanted, ", wanted ",
        decoder.rows() * width, " (", decoder.rows(), " rows x ", width, ")"));
  }
  if (type != DataType::kU8) return decoder.AddData(index, type, sent.bytes);
  FFF_ASSIGN_OR_RETURN(const std::string narrow, Narrowed(sent.bytes, port));
  return decoder.AddData(index, type, narrow);
}

absl::Status WrongType(const graph::Port& port, absl::string_view got,
                       absl::string_view prefix) {
  return absl::InvalidArgumentError(
      absl::StrCat("input '", port.name, "': got datatype ", got, ", wanted ",
                   prefix, WireName(port.data_type)));
}

// The input at `at` of the request; `raw`: its elements, null when they are
// typed.
absl::Status AddInput(const InferInput& input, int at, const std::string* raw,
                      InputDecoder& decoder) {
  const auto in = [at](absl::string_view field, absl::Status status) {
    if (status.ok()) return status;
    return InField(absl::StrCat("inputs[", at, "].", field), std::move(status));
  };
  const absl::StatusOr<size_t> index = decoder.Find(input.name());
  if (!index.ok()) return in("name", index.status());
  const graph::Port& port = decoder.port(*index);
  const std::optional<DataType> type = TypeOfWireName(input.datatype());
  if (!type.has_value() || !InputDecoder::Takes(port, *type)) {
    return in(
        "datatype",
        WrongType(port,
                  absl::StrCat("'", base::Printable(input.datatype()), "'"),
                  ""));
  }
  if (input.parameters().contains("shared_memory_region")) {
    return in("parameters.shared_memory_region",
              absl::InvalidArgumentError(absl::StrCat(
                  "input '", port.name,
                  "': shared memory is not supported, send the tensor's "
                  "contents")));
  }
  FFF_RETURN_IF_ERROR(in("shape", decoder.AddShape(*index, input.shape())));
  if (raw == nullptr) {
    return in("contents", AddTyped(input, port, *index, *type, decoder));
  }
  if (input.has_contents()) {
    return in("contents",
              absl::InvalidArgumentError(absl::StrCat(
                  "input '", port.name,
                  "': got both contents and raw_input_contents, wanted one of "
                  "them")));
  }
  absl::Status added = decoder.AddData(*index, *type, *raw);
  if (added.ok()) return added;
  return InField(absl::StrCat("raw_input_contents[", at, "]"),
                 std::move(added));
}

absl::Status WrongRawCount(const inference::ModelInferRequest& request) {
  const int inputs = request.inputs_size();
  return InField(
      "raw_input_contents",
      absl::InvalidArgumentError(absl::StrCat(
          "got ", request.raw_input_contents_size(), " raw_input_contents for ",
          inputs, inputs == 1 ? " input" : " inputs", ", wanted ", inputs)));
}

// Of a model with one input, the request holds it and no other.
absl::Status CheckInputCount(const inference::ModelInferRequest& request,
                             const InputSpec& spec) {
  const int got = request.inputs_size();
  const auto most =
      static_cast<int>(spec.ports.size()) + (spec.positions != nullptr ? 1 : 0);
  if (got >= 1 && got <= most) return absl::OkStatus();
  return InField(
      "inputs",
      absl::InvalidArgumentError(
          most == 1
              ? absl::StrCat("got ", got, " inputs, wanted 1, named '",
                             spec.ports[0].name, "'")
              : absl::StrCat("got ", got, " inputs, wanted 1 to ", most)));
}

std::optional<DataType> TypeOf(v1::DataType type) {
  switch (type) {
    case v1::DATA_TYPE_FP32:
      return DataType::kF32;
    case v1::DATA_TYPE_UINT8:
      return DataType::kU8;
    case v1::DATA_TYPE_INT32:
      return DataType::kI32;
    case v1::DATA_TYPE_INT64:
      return DataType::kI64;
    case v1::DATA_TYPE_FP16:
      return DataType::kF16;
    case v1::DATA_TYPE_BF16:
      return DataType::kBF16;
    case v1::DATA_TYPE_FP64:
      return DataType::kF64;
    default:
      return std::nullopt;
  }
}

// A message used again has tensors with nothing in them instead of none.
bool IsAbsent(const v1::Tensor& tensor) {
  return tensor.shape().empty() && tensor.data().empty() &&
         tensor.datatype() == v1::DATA_TYPE_UNSPECIFIED;
}

// `place`: where in the request the tensor stands.
absl::Status AddTensor(const v1::Tensor& tensor, absl::string_view place,
                       const graph::Port& port, size_t index,
                       InputDecoder& decoder) {
  const auto in = [place](absl::string_view field, absl::Status status) {
    if (status.ok()) return status;
    return InField(absl::StrCat(place, ".", field), std::move(status));
  };
  const std::optional<DataType> type = TypeOf(tensor.datatype());
  if (!type.has_value() || !InputDecoder::Takes(port, *type)) {
    const std::string got = v1::DataType_IsValid(tensor.datatype())
                                ? v1::DataType_Name(tensor.datatype())
                                : absl::StrCat(tensor.datatype());
    return in("datatype", WrongType(port, got, "DATA_TYPE_"));
  }
  FFF_RETURN_IF_ERROR(in("shape", decoder.AddShape(index, tensor.shape())));
  return in("data", decoder.AddData(index, *type, tensor.data()));
}

absl::Status AddNamed(const NamedTensors& inputs, InputDecoder& decoder) {
  for (int i = 0; i < inputs.size(); ++i) {
    const v1::NamedTensor& named = inputs[i];
    const std::string place = absl::StrCat("inputs[", i, "]");
    FFF_ASSIGN_OR_RETURN(
        const size_t index,
        InField(absl::StrCat(place, ".name"), decoder.Find(named.name())));
    FFF_RETURN_IF_ERROR(AddTensor(named.tensor(),
                                  absl::StrCat(place, ".tensor"),
                                  decoder.port(index), index, decoder));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DecodedInputs> DecodePredictInput(
    const v1::PredictRequest& request, const InputSpec& spec,
    InputScratch& scratch) {
  InputDecoder decoder(spec, /*bare_row=*/true, scratch);
  if (!IsAbsent(request.input())) {
    FFF_RETURN_IF_ERROR(
        AddTensor(request.input(), "input", spec.ports[0], 0, decoder));
  }
  FFF_RETURN_IF_ERROR(AddNamed(request.inputs(), decoder));
  return InField("input", std::move(decoder).Finish());
}

absl::StatusOr<DecodedInputs> DecodeNamedInputs(const NamedTensors& inputs,
                                                const InputSpec& spec,
                                                InputScratch& scratch) {
  InputDecoder decoder(spec, /*bare_row=*/true, scratch);
  FFF_RETURN_IF_ERROR(AddNamed(inputs, decoder));
  return InField("inputs", std::move(decoder).Finish());
}

absl::StatusOr<DecodedInputs> DecodeInferInput(
    const inference::ModelInferRequest& request, const InputSpec& spec,
    const OutputSpec& output_spec, InputScratch& scratch) {
  FFF_RETURN_IF_ERROR(CheckInputCount(request, spec));
  FFF_RETURN_IF_ERROR(
      InField("outputs", DecodeOutputs(request, output_spec).status()));
  const int raw = request.raw_input_contents_size();
  if (raw != 0 && raw != request.inputs_size()) return WrongRawCount(request);
  InputDecoder decoder(spec, /*bare_row=*/false, scratch);
  for (int i = 0; i < request.inputs_size(); ++i) {
    FFF_RETURN_IF_ERROR(
        AddInput(request.inputs(i), i,
                 i < raw ? &request.raw_input_contents(i) : nullptr, decoder));
  }
  return InField("inputs", std::move(decoder).Finish());
}

absl::StatusOr<int64_t> DecodeVersion(const std::string& version) {
  if (version.empty()) return 0;
  int64_t number = 0;
  // SimpleAtoi alone would take " 1" and "+1" as well.
  if (!absl::ascii_isdigit(static_cast<unsigned char>(version.front())) ||
      !absl::ascii_isdigit(static_cast<unsigned char>(version.back())) ||
      !absl::SimpleAtoi(version, &number) || number < 1) {
    return InField("model_version",
                   absl::InvalidArgumentError(absl::StrCat(
                       "got model version '", base::Printable(version),
                       "', wanted a positive decimal number or nothing")));
  }
  return number;
}

}  // namespace fff::rpc

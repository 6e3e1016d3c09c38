#include "client/cli/verify_command.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <iostream>
#include <vector>

#include "CLI/Option.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "client/cli/rows/input_port.h"
#include "client/cli/rows/output_rows.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"

namespace fff::cli {
namespace {

using checkpoint::Checkpoint;

// A request, with the bytes that it points to.
struct Request {
  std::deque<std::string> bytes;
  std::vector<client::NamedInput> inputs;
};

template <class T>
std::string BytesOf(absl::Span<const int64_t> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    const T value = static_cast<T>(values[i]);
    std::memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
  }
  return bytes;
}

absl::StatusOr<std::string> ElementBytes(const Checkpoint& file,
                                         const std::string& name,
                                         v1::DataType type) {
  if (type == v1::DATA_TYPE_FP32 || type == v1::DATA_TYPE_UNSPECIFIED) {
    FFF_ASSIGN_OR_RETURN(const tensor::FloatArray floats, file.Floats(name));
    return std::string(reinterpret_cast<const char*>(floats.data()),
                       floats.span().size() * sizeof(float));
  }
  FFF_ASSIGN_OR_RETURN(const std::vector<int64_t> values, file.Integers(name));
  if (type == v1::DATA_TYPE_UINT8) return BytesOf<uint8_t>(values);
  if (type == v1::DATA_TYPE_INT32) return BytesOf<int32_t>(values);
  return BytesOf<int64_t>(values);
}

// [rows, <the port's shape>]: an example may have rows of one flat dimension.
std::vector<int64_t> RequestShape(const v1::TensorMetadata& port,
                                  const tensor::Shape& shape) {
  std::vector<int64_t> wanted(shape.begin(), shape.end());
  if (IsSequence(port) || shape.size() != 2) return wanted;
  wanted.resize(1);
  wanted.insert(wanted.end(), port.shape().begin(), port.shape().end());
  return wanted;
}

absl::StatusOr<Request> RequestOf(const Checkpoint& file,
                                  const v1::GetModelResponse& model) {
  Request request;
  for (const v1::TensorMetadata& port : PortsOf(model)) {
    const std::string name = absl::StrCat("input.", port.name());
    const checkpoint::NamedTensor* tensor = file.Find(name);
    if (tensor == nullptr && port.optional()) continue;
    if (tensor == nullptr || tensor->shape.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file.source(), ": wanted tensor \"", name, "\" ",
                       PortText(port), " behind the rows"));
    }
    FFF_ASSIGN_OR_RETURN(std::string bytes,
                         ElementBytes(file, name, port.datatype()));
    request.bytes.push_back(std::move(bytes));
    client::NamedInput input;
    input.name = port.name();
    input.type = port.datatype() == v1::DATA_TYPE_UNSPECIFIED
                     ? v1::DATA_TYPE_FP32
                     : port.datatype();
    input.shape = RequestShape(port, tensor->shape);
    input.bytes = request.bytes.back();
    request.inputs.push_back(std::move(input));
  }
  return request;
}

// Prints a line; an error says where the answer is furthest off.
absl::Status Compare(const std::string& name, absl::Span<const float> got,
                     absl::Span<const float> wanted, double share) {
  if (got.size() != wanted.size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("output ", name, ": got ", got.size(), " numbers, wanted ",
                     wanted.size()));
  }
  double largest = 0;
  for (const float value : wanted) {
    largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  double apart = 0;
  size_t at = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference =
        std::abs(static_cast<double>(got[i]) - static_cast<double>(wanted[i]));
    if (difference > apart || std::isnan(difference)) {
      apart = std::isnan(difference) ? HUGE_VAL : difference;
      at = i;
    }
  }
  const double allowed = share * largest;
  if (apart > allowed) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "output %s, number %d: got %g, wanted %g, tolerance %.3g",
        base::Printable(name), at, got[at], wanted[at], allowed));
  }
  std::cout << absl::StreamFormat(
      "output %s: %d numbers agree, largest difference %.2g, tolerance %.2g\n",
      base::Printable(name), got.size(), apart, allowed);
  return absl::OkStatus();
}

absl::Status CompareAll(const Checkpoint& file,
                        const v1::GetModelResponse& model,
                        const client::Prediction& answer, double share) {
  int compared = 0;
  const std::vector<v1::TensorMetadata> ports = OutputsOf(model);
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string name = absl::StrCat("output.", ports[i].name());
    if (file.Find(name) == nullptr) continue;
    FFF_ASSIGN_OR_RETURN(const tensor::FloatArray wanted, file.Floats(name));
    if (i > 0 && i > answer.others.size()) continue;
    FFF_RETURN_IF_ERROR(Compare(
        ports[i].name(), i == 0 ? answer.output : answer.others[i - 1].values,
        wanted.span(), share));
    ++compared;
  }
  if (compared > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file.source(), ": wanted tensor \"output.",
                   ports.empty() ? "output" : ports[0].name(), "\""));
}

}  // namespace

CLI::App* VerifyCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand(
      "verify", "Hold a served model against an example's answers");
  sub->add_option("model", model, "Model name; NAME:dense is its dense twin")
      ->required();
  sub->add_option("--version", version, "Version; 0 = the default one")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--example", example,
                  "safetensors of input.NAME and output.NAME, as fff_client "
                  "writes it")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("--tolerance", tolerance,
                  "Difference that is allowed, as a share of the output's "
                  "largest number")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  sub->footer(
      "Example:\n  fffctl verify my-network --example "
      "models/my-network/1/example.safetensors");
  return sub;
}

absl::Status VerifyCommand::Run(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const Checkpoint file,
                       checkpoint::OpenCheckpoint(example));
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  FFF_ASSIGN_OR_RETURN(const v1::GetModelResponse described,
                       client->GetModel(model, version));
  FFF_ASSIGN_OR_RETURN(const Request request, RequestOf(file, described));
  client::PredictOptions options;
  options.version = version;
  FFF_ASSIGN_OR_RETURN(const client::Prediction answer,
                       client->Predict(model, request.inputs, options));
  FFF_RETURN_IF_ERROR(CompareAll(file, described, answer, tolerance));
  std::cout << base::Printable(answer.model) << " version " << answer.version
            << " answers " << answer.rows << " rows as the example does\n";
  return absl::OkStatus();
}

}  // namespace fff::cli

#include "server/model/example.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/tensor_reader.h"
#include "server/tensor/matrix.h"

namespace fff::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::NamedTensor;
using graph::Port;
using tensor::DataType;

std::string InputName(const Port& port) {
  return absl::StrCat("input.", port.name);
}

std::string OutputName(const Port& port) {
  return absl::StrCat("output.", port.name);
}

absl::Status TensorError(const Checkpoint& file, absl::string_view name,
                         absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(
      file.source(), ": tensor \"", base::Printable(name), "\": ", what));
}

// "[rows, sequence, 3, 16, 16]".
std::string WantedShape(const Port& port) {
  std::string text = "[rows";
  if (port.sequence) absl::StrAppend(&text, ", sequence");
  for (const int64_t size : port.shape) absl::StrAppend(&text, ", ", size);
  return absl::StrCat(text, "]");
}

// The rows and tokens that the tensor of an input has; the size of the others
// must be the same.
absl::StatusOr<SampleRows::Size> SizeOf(const Checkpoint& file,
                                        const Port& port,
                                        const NamedTensor& found) {
  const tensor::Shape& shape = found.shape;
  const size_t dims = port.sequence ? 2 : 1;
  SampleRows::Size size;
  if (shape.size() >= dims) {
    size.rows = shape[0];
    if (port.sequence) size.tokens = shape[1];
    const int64_t elements = tensor::NumElements(shape).value_or(0);
    // Both are checked before they are multiplied.
    if (size.rows >= 1 && size.tokens >= 1 && size.rows <= kExampleTokensMax &&
        size.tokens <= kExampleTokensMax / size.rows &&
        elements == size.rows * size.tokens * port.width()) {
      return size;
    }
  }
  return TensorError(
      file, InputName(port),
      absl::StrCat("found shape ", tensor::ToString(shape), ", wanted ",
                   WantedShape(port), " with 1 to ", kExampleTokensMax,
                   port.sequence ? " tokens in all" : " rows"));
}

absl::Status CheckNames(const Checkpoint& file, const graph::Graph& graph) {
  std::vector<std::string> known;
  for (const Port& port : graph.inputs()) known.push_back(InputName(port));
  for (const Port& port : graph.outputs()) known.push_back(OutputName(port));
  for (const auto& [name, tensor] : file.tensors()) {
    if (absl::c_linear_search(known, name)) continue;
    return TensorError(file, name,
                       absl::StrCat("this network has no such port, wanted ",
                                    importer::QuotedNames(known)));
  }
  return absl::OkStatus();
}

absl::Status ReadFloats(const Checkpoint& file, const std::string& name,
                        absl::Span<float> to) {
  FFF_ASSIGN_OR_RETURN(const tensor::FloatArray values, file.Floats(name));
  const int64_t bad = tensor::FindNonFinite(values.span());
  if (bad >= 0) {
    return TensorError(file, name,
                       absl::StrCat("found ", values[bad], " at element ", bad,
                                    "; NaN and infinity prove nothing"));
  }
  std::copy_n(values.data(), values.size(), to.data());
  return absl::OkStatus();
}

absl::Status ReadIntegers(const Checkpoint& file, const Port& port,
                          int32_t* to) {
  const std::string name = InputName(port);
  FFF_ASSIGN_OR_RETURN(const std::vector<int64_t> values, file.Integers(name));
  const int64_t end = port.limit > 0 ? port.limit : int64_t{1} << 31;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= end) {
      return TensorError(file, name,
                         absl::StrCat("found ", values[i], " at element ", i,
                                      ", wanted 0 to ", end - 1));
    }
    to[i] = static_cast<int32_t>(values[i]);
  }
  return absl::OkStatus();
}

absl::Status ReadInput(const Checkpoint& file, const Port& port,
                       absl::Span<float> to) {
  const std::string name = InputName(port);
  if (port.type().data_type == DataType::kI32) {
    return ReadIntegers(file, port, reinterpret_cast<int32_t*>(to.data()));
  }
  const NamedTensor& found = *file.Find(name);
  // Pixels scaled to 0 .. 1 would be served as nearly black.
  if (port.data_type == DataType::kU8 && found.data_type != DataType::kU8) {
    return TensorError(file, name,
                       absl::StrCat("found ", Name(found.data_type),
                                    ", wanted U8, as the input is"));
  }
  return ReadFloats(file, name, to);
}

// The size of the inputs that are there; which those are in `present`.
absl::StatusOr<SampleRows::Size> SizeOfAll(const Checkpoint& file,
                                           absl::Span<const Port> ports,
                                           std::vector<size_t>& present) {
  std::optional<SampleRows::Size> size;
  for (size_t i = 0; i < ports.size(); ++i) {
    const Port& port = ports[i];
    const NamedTensor* const found = file.Find(InputName(port));
    if (found == nullptr && port.optional) continue;
    if (found == nullptr)
      return TensorError(file, InputName(port), "is missing");
    if (!found->unreadable.empty()) {
      return TensorError(file, InputName(port), found->unreadable);
    }
    FFF_ASSIGN_OR_RETURN(const SampleRows::Size own,
                         SizeOf(file, port, *found));
    if (size.has_value() &&
        (own.rows != size->rows || own.tokens != size->tokens)) {
      return TensorError(
          file, InputName(port),
          absl::StrCat("found shape ", tensor::ToString(found->shape),
                       ", wanted the rows and tokens of the other inputs, [",
                       size->rows, ", ", size->tokens, "]"));
    }
    size = own;
    present.push_back(i);
  }
  return *size;
}

// Which outputs are there; one is at least.
absl::StatusOr<std::vector<bool>> FindOutputs(const Checkpoint& file,
                                              absl::Span<const Port> ports) {
  std::vector<bool> has;
  for (const Port& port : ports) {
    has.push_back(file.Find(OutputName(port)) != nullptr);
  }
  if (absl::c_linear_search(has, true)) return has;
  return TensorError(file, OutputName(ports[0]), "is missing");
}

// The numbers of all outputs of so many rows are not too many.
absl::Status CheckOutputSize(const Checkpoint& file, const graph::Graph& graph,
                             const SampleRows::Size& size) {
  int64_t floats = 0;
  bool too_many = false;
  for (const Port& port : graph.outputs()) {
    const int64_t rows = size.rows * (port.sequence ? size.tokens : 1);
    const int64_t width = std::max<int64_t>(port.width(), 1);
    too_many |= rows > (kExampleFloatsMax - floats) / width;
    floats += rows * width;
  }
  if (!too_many) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file.source(), ": found rows with ", floats,
                   " numbers of output, wanted at most ", kExampleFloatsMax,
                   "; fewer rows prove as much"));
}

absl::Status ReadOutput(const Checkpoint& file, const Port& port,
                        tensor::MutableRows to) {
  const std::string name = OutputName(port);
  const NamedTensor* const found = file.Find(name);
  if (!found->unreadable.empty()) {
    return TensorError(file, name, found->unreadable);
  }
  const int64_t elements = to.rows * to.width;
  if (tensor::NumElements(found->shape).value_or(0) != elements) {
    return TensorError(
        file, name,
        absl::StrCat("found shape ", tensor::ToString(found->shape),
                     ", wanted ", WantedShape(port), ", ", elements,
                     " elements for the inputs of this file"));
  }
  return ReadFloats(file, name, {to.data, static_cast<size_t>(elements)});
}

}  // namespace

absl::StatusOr<Example> Example::Read(const std::string& path,
                                      const graph::Graph& graph) {
  FFF_ASSIGN_OR_RETURN(const Checkpoint file, checkpoint::OpenCheckpoint(path));
  return Read(file, graph);
}

absl::StatusOr<Example> Example::Read(const Checkpoint& file,
                                      const graph::Graph& graph) {
  FFF_RETURN_IF_ERROR(CheckNames(file, graph));
  std::vector<size_t> present;
  FFF_ASSIGN_OR_RETURN(const SampleRows::Size size,
                       SizeOfAll(file, graph.inputs(), present));
  if (size.tokens > graph.tokens_max()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.source(), ": found sequences of ", size.tokens,
        " tokens, the network takes ", graph.tokens_max(), " at most"));
  }
  FFF_ASSIGN_OR_RETURN(std::vector<bool> has,
                       FindOutputs(file, graph.outputs()));
  FFF_RETURN_IF_ERROR(CheckOutputSize(file, graph, size));
  auto x = std::make_unique<SampleRows>(graph.inputs(), size);
  for (const size_t i : present) {
    x->Include(i);
    FFF_RETURN_IF_ERROR(ReadInput(file, graph.inputs()[i], x->values(i)));
  }
  SampleOutputs y(graph.outputs(), x->extent());
  for (size_t i = 0; i < has.size(); ++i) {
    if (!has[i]) continue;
    FFF_RETURN_IF_ERROR(ReadOutput(file, graph.outputs()[i], y.rows(i)));
  }
  return Example(std::move(x), std::move(y), std::move(has));
}

}  // namespace fff::model

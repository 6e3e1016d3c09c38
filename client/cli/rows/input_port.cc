#include "client/cli/rows/input_port.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/rows/input_file.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

constexpr int64_t kElementsMax = int64_t{1} << 40;

bool IsFile(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && !S_ISDIR(info.st_mode);
}

// Whether `text` is FILE or FILE:KEY with a file that is there; if so, sets
// both. The longest such FILE counts.
bool SplitKey(const std::string& text, InputArgument* argument) {
  for (size_t end = text.size(); end != 0 && end != std::string::npos;
       end = text.rfind(':', end - 1)) {
    if (!IsFile(text.substr(0, end))) continue;
    argument->file = text.substr(0, end);
    argument->key = end == text.size() ? "" : text.substr(end + 1);
    return true;
  }
  return false;
}

// What is sent: floats travel as FP32, whichever of them the input holds.
v1::DataType SentType(const v1::TensorMetadata& port) {
  switch (port.datatype()) {
    case v1::DATA_TYPE_UINT8:
    case v1::DATA_TYPE_INT32:
    case v1::DATA_TYPE_INT64:
      return port.datatype();
    default:
      return v1::DATA_TYPE_FP32;
  }
}

template <class T>
absl::Status AppendIntegers(const std::vector<int64_t>& values,
                            std::string* bytes) {
  for (const int64_t value : values) {
    if (value < std::numeric_limits<T>::min() ||
        value > std::numeric_limits<T>::max()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "got ", value, ", wanted ", std::numeric_limits<T>::min(), " to ",
          std::numeric_limits<T>::max()));
    }
    const auto narrow = static_cast<T>(value);
    bytes->append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
  }
  return absl::OkStatus();
}

absl::Status FillBytes(const InputMatrix& input, PortRows* rows) {
  switch (SentType(rows->port)) {
    case v1::DATA_TYPE_UINT8:
      rows->element_bytes = 1;
      return AppendIntegers<uint8_t>(input.integers, &rows->bytes);
    case v1::DATA_TYPE_INT32:
      rows->element_bytes = 4;
      return AppendIntegers<int32_t>(input.integers, &rows->bytes);
    case v1::DATA_TYPE_INT64:
      rows->element_bytes = 8;
      return AppendIntegers<int64_t>(input.integers, &rows->bytes);
    default:
      rows->element_bytes = 4;
      rows->bytes.assign(reinterpret_cast<const char*>(input.values.data()),
                         input.values.size() * sizeof(float));
      return absl::OkStatus();
  }
}

// Images are scaled as their models are trained, other floats when told.
absl::Status NormalizeInput(const PortOptions& options, InputMatrix* input) {
  if (options.normalize.empty() && !input->is_image) return absl::OkStatus();
  Normalization normalization;
  if (!options.normalize.empty()) {
    FFF_ASSIGN_OR_RETURN(normalization, ParseNormalization(options.normalize));
  }
  Normalize(normalization, absl::MakeSpan(input->values));
  return absl::OkStatus();
}

std::string ShapeText(absl::Span<const int64_t> shape) {
  return absl::StrJoin(shape, ", ", [](std::string* text, int64_t size) {
    absl::StrAppend(text, size == -1 ? "sequence" : absl::StrCat(size));
  });
}

// Without dimensions of 1, which change the order of nothing.
template <class Shape>
std::vector<int64_t> Squeezed(const Shape& shape) {
  std::vector<int64_t> squeezed;
  for (const int64_t size : shape) {
    if (size != 1) squeezed.push_back(size);
  }
  return squeezed;
}

// An array with the shape of one row is that row: a picture of [28, 28] for an
// input of [28, 28] or [1, 28, 28]. As 28 rows it would fit neither.
void TakeWholeAsRow(const v1::TensorMetadata& port, InputMatrix* input) {
  if (input->row_shape.empty() || port.shape_size() < 2 || IsSequence(port)) {
    return;
  }
  std::vector<int64_t> whole = input->row_shape;
  whole.insert(whole.begin(), input->rows());
  const int64_t elements = ElementsOf(port, 1);
  if (input->widths[0] == elements ||
      Squeezed(whole) != Squeezed(port.shape())) {
    return;
  }
  input->widths = {elements};
  input->row_shape = std::move(whole);
}

// Dimensions that are as many as the input's must be the input's: rows of
// [32, 32, 3] fill an input of [3, 32, 32] in the wrong order.
absl::Status CheckDimensions(const InputMatrix& input, const PortRows& rows) {
  const std::vector<int64_t> wanted = Squeezed(rows.port.shape());
  const std::vector<int64_t> got = Squeezed(input.row_shape);
  if (got.size() != wanted.size() ||
      std::equal(got.begin(), got.end(), wanted.begin(),
                 [](int64_t size, int64_t want) {
                   return want == -1 || size == want;
                 })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      input.what, " gives rows of [", ShapeText(input.row_shape), "], input '",
      rows.port.name(), "' wants ", PortText(rows.port)));
}

// Of rows of text with one value too many.
absl::string_view IndexHint(const InputMatrix& input, int64_t width,
                            int64_t wanted) {
  return absl::StartsWith(input.what, "CSV") && width == wanted + 1
             ? "; if the first column is an index, write the file without it"
             : "";
}

// Every row must fill the input's shape; told here, the message can name the
// file.
absl::Status CheckWidths(const InputMatrix& input, const PortRows& rows) {
  const int64_t unit = ElementsOf(rows.port, 1);
  for (const int64_t width : rows.widths) {
    const bool fits =
        IsSequence(rows.port) ? unit > 0 && width % unit == 0 : width == unit;
    if (fits) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(input.what, " gives rows of ", width, " values, input '",
                     rows.port.name(), "' wants ",
                     IsSequence(rows.port) ? "a multiple of " : "", unit, " (",
                     PortText(rows.port), ")", IndexHint(input, width, unit)));
  }
  return CheckDimensions(input, rows);
}

void KeepFirst(int64_t limit, InputMatrix* input) {
  if (limit < 1 || limit >= input->rows()) return;
  input->widths.resize(static_cast<size_t>(limit));
  const auto kept = static_cast<size_t>(
      std::accumulate(input->widths.begin(), input->widths.end(), int64_t{0}));
  input->values.resize(std::min(input->values.size(), kept));
  input->integers.resize(std::min(input->integers.size(), kept));
}

}  // namespace

InputArgument ParseInputArgument(const std::string& text) {
  InputArgument argument;
  if (SplitKey(text, &argument)) return argument;
  const size_t sign = text.find('=');
  if (sign == std::string::npos || sign == 0) return {"", text, ""};
  argument.name = text.substr(0, sign);
  if (!SplitKey(text.substr(sign + 1), &argument)) {
    argument.file = text.substr(sign + 1);
  }
  return argument;
}

std::vector<v1::TensorMetadata> PortsOf(const v1::GetModelResponse& model) {
  if (model.inputs_size() == 0) return {model.input()};
  return {model.inputs().begin(), model.inputs().end()};
}

absl::StatusOr<v1::TensorMetadata> FindPort(const v1::GetModelResponse& model,
                                            const std::string& name) {
  std::vector<std::string> names;
  for (const v1::TensorMetadata& port : PortsOf(model)) {
    if (name.empty() || port.name() == name) return port;
    names.push_back(port.name());
  }
  return absl::NotFoundError(
      absl::StrCat("model '", model.summary().name(), "' has no input '", name,
                   "', there is: ", absl::StrJoin(names, ", ")));
}

int64_t ElementsOf(const v1::TensorMetadata& port, int64_t sequence) {
  int64_t elements = 1;
  for (int64_t size : port.shape()) {
    if (size == -1) size = sequence;
    if (size < 1) return 0;
    elements = size > kElementsMax / elements ? kElementsMax : elements * size;
  }
  return elements;
}

bool IsSequence(const v1::TensorMetadata& port) {
  return std::count(port.shape().begin(), port.shape().end(), -1) > 0;
}

std::string DataTypeName(const v1::TensorMetadata& port) {
  const v1::DataType type = port.datatype() == v1::DATA_TYPE_UNSPECIFIED
                                ? v1::DATA_TYPE_FP32
                                : port.datatype();
  return std::string(absl::StripPrefix(v1::DataType_Name(type), "DATA_TYPE_"));
}

std::string PortText(const v1::TensorMetadata& port) {
  return absl::StrCat(DataTypeName(port), " [", ShapeText(port.shape()), "]",
                      port.optional() ? ", optional" : "");
}

int64_t PortRows::sequence(int64_t row) const {
  return IsSequence(port)
             ? widths[static_cast<size_t>(row)] / ElementsOf(port, 1)
             : 1;
}

client::NamedInput PortRows::Slice(int64_t first, int64_t count) const {
  client::NamedInput input;
  input.name = argument.name;
  input.type = SentType(port);
  input.shape = {count};
  for (const int64_t size : port.shape()) {
    input.shape.push_back(size == -1 ? sequence(first) : size);
  }
  const int64_t begin = offsets[static_cast<size_t>(first)];
  const int64_t end = offsets[static_cast<size_t>(first + count)];
  input.bytes = absl::string_view(bytes).substr(
      static_cast<size_t>(begin * element_bytes),
      static_cast<size_t>((end - begin) * element_bytes));
  return input;
}

absl::StatusOr<PortRows> ReadPort(const InputArgument& argument,
                                  const v1::TensorMetadata& port,
                                  const std::string& contents,
                                  const PortOptions& options) {
  PortRows rows;
  rows.argument = argument;
  rows.port = port;
  const bool floats = SentType(port) == v1::DATA_TYPE_FP32;
  if (!floats && !options.normalize.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--normalize is for inputs of floats, '", port.name(),
                     "' is ", PortText(port)));
  }
  absl::StatusOr<InputMatrix> input = ParseInput(
      contents,
      {floats ? Elements::kFloats : Elements::kIntegers, IsSequence(port)});
  if (!input.ok()) return base::Annotate(input.status(), argument.file);
  TakeWholeAsRow(port, &*input);
  KeepFirst(options.limit, &*input);
  if (floats) FFF_RETURN_IF_ERROR(NormalizeInput(options, &*input));
  rows.widths = input->widths;
  rows.offsets = {0};
  for (const int64_t width : rows.widths) {
    rows.offsets.push_back(rows.offsets.back() + width);
  }
  const absl::Status fits = CheckWidths(*input, rows);
  if (!fits.ok()) return base::Annotate(fits, argument.file);
  const absl::Status filled = FillBytes(*input, &rows);
  if (!filled.ok()) {
    return base::Annotate(filled,
                          absl::StrCat(argument.file, " as ", PortText(port)));
  }
  return rows;
}

absl::Status CheckPorts(absl::Span<const PortRows> ports) {
  for (size_t i = 1; i < ports.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (ports[i].port.name() != ports[j].port.name()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "input '", ports[i].port.name(), "' is given twice: ",
          ports[j].argument.file, " and ", ports[i].argument.file));
    }
    if (ports[i].rows() != ports[0].rows()) {
      return absl::InvalidArgumentError(absl::StrCat(
          ports[i].argument.file, ": got ", ports[i].rows(), " rows, wanted ",
          ports[0].rows(), " as in ", ports[0].argument.file));
    }
  }
  return absl::OkStatus();
}

int64_t RowsAlike(absl::Span<const PortRows> ports, int64_t first,
                  int64_t most) {
  int64_t count = 1;
  const auto alike = [&](const PortRows& port) {
    return port.widths[static_cast<size_t>(first + count)] ==
           port.widths[static_cast<size_t>(first)];
  };
  while (count < most && first + count < ports[0].rows() &&
         std::all_of(ports.begin(), ports.end(), alike)) {
    ++count;
  }
  return count;
}

}  // namespace fff::cli

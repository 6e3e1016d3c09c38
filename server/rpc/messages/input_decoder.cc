#include "server/rpc/messages/input_decoder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/rpc/messages/element_types.h"
#include "server/tensor/shape.h"

namespace fff::rpc {
namespace {

using tensor::DataType;

struct NamedType {
  absl::string_view name;
  DataType type;
};
constexpr NamedType kWireTypes[] = {
    {"FP32", DataType::kF32},  {"FP64", DataType::kF64},
    {"FP16", DataType::kF16},  {"BF16", DataType::kBF16},
    {"INT64", DataType::kI64}, {"INT32", DataType::kI32},
    {"UINT8", DataType::kU8},  {"BOOL", DataType::kBool},
};

// The dimensions in front of the port's own: rows, and where rows are sequences
// of any length their tokens.
size_t OuterDims(const graph::Port& port) { return port.sequence ? 2 : 1; }

std::string WantedShape(const graph::Port& port) {
  return absl::StrCat("[rows", port.sequence ? ", sequence" : "",
                      port.shape.empty() ? "" : ", ",
                      absl::StrJoin(port.shape, ", "), "]");
}

std::string GotShape(absl::Span<const int64_t> shape) {
  constexpr size_t kDimsShown = 16;
  if (shape.size() <= kDimsShown) return tensor::ToString(shape);
  return absl::StrCat("of rank ", shape.size());
}

std::string Named(const graph::Port& port) {
  return absl::StrCat("input '", port.name, "'");
}

std::string NamesOf(absl::Span<const graph::Port> ports) {
  return absl::StrJoin(ports, ", ", [](std::string* out, const auto& port) {
    absl::StrAppend(out, "'", port.name, "'");
  });
}

// Rows and tokens of a shape; bare: one row.
struct Outer {
  int64_t rows = 1;
  int64_t tokens = 1;
};

// The outer dimensions of `shape`; nothing when the rest is not the port's.
std::optional<Outer> OuterOf(absl::Span<const int64_t> shape,
                             const graph::Port& port, bool bare_row) {
  const size_t inner = port.shape.size();
  const size_t outer = OuterDims(port);
  const bool bare = bare_row && shape.size() + 1 == outer + inner;
  if (!bare && shape.size() != outer + inner) return std::nullopt;
  if (!std::equal(port.shape.begin(), port.shape.end(),
                  shape.end() - static_cast<std::ptrdiff_t>(inner))) {
    return std::nullopt;
  }
  Outer found;
  if (!bare) found.rows = shape[0];
  if (port.sequence) found.tokens = shape[bare ? 0 : 1];
  return found;
}

absl::Status CheckOuter(const Outer& outer, const graph::Port& port,
                        int64_t tokens_max) {
  if (outer.rows < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        Named(port), ": got ", outer.rows, " rows, wanted at least 1"));
  }
  if (outer.tokens >= 1 && outer.tokens <= tokens_max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Named(port), ": got sequences of ", outer.tokens,
                   " tokens, wanted 1 to ", tokens_max));
}

absl::Status Differs(const graph::Port& port, const graph::Port& other,
                     absl::string_view what, int64_t got, int64_t wanted) {
  return absl::InvalidArgumentError(absl::StrCat(Named(port), ": got ", got,
                                                 " ", what, ", wanted ", wanted,
                                                 " as ", Named(other)));
}

}  // namespace

absl::string_view WireName(DataType type) {
  for (const NamedType& known : kWireTypes) {
    if (known.type == type) return known.name;
  }
  return "";
}

std::optional<DataType> TypeOfWireName(absl::string_view name) {
  for (const NamedType& known : kWireTypes) {
    if (known.name == name) return known.type;
  }
  return std::nullopt;
}

InputDecoder::InputDecoder(const InputSpec& spec, bool bare_row,
                           InputScratch& scratch)
    : spec_(spec), bare_row_(bare_row), scratch_(scratch) {
  const size_t inputs = spec.ports.size() + (spec.positions != nullptr ? 1 : 0);
  decoded_.matrices.resize(spec.ports.size());
  if (scratch_.size() < inputs) scratch_.resize(inputs);
}

absl::StatusOr<size_t> InputDecoder::Find(absl::string_view name) const {
  for (size_t i = 0; i < spec_.ports.size(); ++i) {
    if (spec_.ports[i].name != name) continue;
    if (decoded_.matrices[i].data == nullptr) return i;
    return absl::InvalidArgumentError(
        absl::StrCat("got ", Named(spec_.ports[i]), " twice"));
  }
  const bool takes_positions = spec_.positions != nullptr;
  if (takes_positions && spec_.positions->name == name) {
    if (decoded_.positions.data == nullptr) return spec_.ports.size();
    return absl::InvalidArgumentError(
        absl::StrCat("got ", Named(*spec_.positions), " twice"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "got input '", base::Printable(name), "', wanted ", NamesOf(spec_.ports),
      takes_positions ? absl::StrCat(" or '", spec_.positions->name, "'")
                      : ""));
}

bool InputDecoder::Takes(const graph::Port& port, DataType type) {
  switch (port.data_type) {
    case DataType::kU8:
      return type == DataType::kU8;
    case DataType::kI32:
    case DataType::kI64:
      return type == DataType::kI32 || type == DataType::kI64 ||
             (port.role == graph::Port::Role::kMask &&
              (type == DataType::kBool || type == DataType::kU8));
    default:
      return type == DataType::kF32 || type == DataType::kF64 ||
             type == DataType::kF16 || type == DataType::kBF16;
  }
}

int64_t InputDecoder::RowWidth(size_t index) const {
  if (IsPositions(index)) return positions_per_row_;
  const graph::Port& port = spec_.ports[index];
  return port.width() * (port.sequence ? decoded_.tokens : 1);
}

absl::Status InputDecoder::AddShape(size_t index,
                                    absl::Span<const int64_t> shape) {
  const graph::Port& port = this->port(index);
  const std::optional<Outer> outer = OuterOf(shape, port, bare_row_);
  if (!outer.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(Named(port), ": got shape ",
                                                   GotShape(shape), ", wanted ",
                                                   WantedShape(port)));
  }
  FFF_RETURN_IF_ERROR(CheckOuter(*outer, port, spec_.tokens_max));
  const absl::StatusOr<int64_t> elements = tensor::NumElements(shape);
  if (!elements.ok()) return base::Annotate(elements.status(), port.name);
  if (first_ == nullptr) {
    first_ = &port;
    decoded_.rows = outer->rows;
  } else if (outer->rows != decoded_.rows) {
    return Differs(port, *first_, "rows", outer->rows, decoded_.rows);
  }
  if (IsPositions(index)) {
    positions_per_row_ = outer->tokens;
    return absl::OkStatus();
  }
  if (!port.sequence) return absl::OkStatus();
  if (sequence_ == nullptr) {
    sequence_ = &port;
    decoded_.tokens = outer->tokens;
  } else if (outer->tokens != decoded_.tokens) {
    return Differs(port, *sequence_, "tokens per row", outer->tokens,
                   decoded_.tokens);
  }
  return absl::OkStatus();
}

absl::Status InputDecoder::AddData(size_t index, DataType type,
                                   absl::string_view bytes) {
  const graph::Port& port = this->port(index);
  const int64_t width = RowWidth(index);
  const int64_t wanted =
      decoded_.rows * width * static_cast<int64_t>(tensor::ByteWidth(type));
  if (static_cast<int64_t>(bytes.size()) != wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat(Named(port), ": got ", bytes.size(),
                     " bytes of data, wanted ", wanted, " (", decoded_.rows,
                     " rows x ", width, " ", WireName(type), " values)"));
  }
  tensor::TypedRows& matrix =
      IsPositions(index) ? decoded_.positions : decoded_.matrices[index];
  FFF_ASSIGN_OR_RETURN(matrix, DecodeElements(port, type, bytes, decoded_.rows,
                                              width, scratch_[index]));
  if (matrix.type != DataType::kF32) return absl::OkStatus();
  const tensor::ConstRows floats = matrix.floats();
  if (AllFinite({floats.data, bytes.size() / tensor::ByteWidth(type)})) {
    return absl::OkStatus();
  }
  if (spec_.refuse_non_finite) return RefuseNonFinite(port, floats);
  decoded_.non_finite_rows += NonFiniteRows(floats);
  return absl::OkStatus();
}

absl::Status InputDecoder::CheckPositions() const {
  const tensor::TypedRows& positions = decoded_.positions;
  const auto* const places = static_cast<const int32_t*>(positions.data);
  for (int64_t i = 0; places != nullptr && i < positions.rows * positions.width;
       ++i) {
    if (places[i] < decoded_.tokens) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(Named(*spec_.positions), ": got ", places[i], " at row ",
                     i / positions.width, ", element ", i % positions.width,
                     ", wanted 0 to ", decoded_.tokens - 1,
                     ", a place among the row's tokens"));
  }
  return absl::OkStatus();
}

absl::StatusOr<DecodedInputs> InputDecoder::Finish() && {
  for (size_t i = 0; i < spec_.ports.size(); ++i) {
    const graph::Port& port = spec_.ports[i];
    tensor::TypedRows& matrix = decoded_.matrices[i];
    if (matrix.data != nullptr) continue;
    if (!port.optional) {
      return absl::InvalidArgumentError(
          absl::StrCat("got no input tensor, wanted '", port.name,
                       "' of shape ", WantedShape(port)));
    }
    matrix = {port.type().data_type, nullptr, decoded_.rows, RowWidth(i)};
  }
  FFF_RETURN_IF_ERROR(CheckPositions());
  return std::move(decoded_);
}

}  // namespace fff::rpc

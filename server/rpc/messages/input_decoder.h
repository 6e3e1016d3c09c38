#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/graph/graph.h"
#include "server/tensor/float_array.h"
#include "server/tensor/typed_rows.h"

// Tensors that a peer wrote to a model's inputs, the same for both APIs. Errors
// are INVALID_ARGUMENT with the field of the request (bad_field.h).
namespace fff::rpc {

// What a model takes.
struct InputSpec {
  // NOLINTNEXTLINE(google-explicit-constructor): of a graph.
  InputSpec(const graph::Graph& graph)
      : ports(graph.inputs()),
        positions(graph.positions()),
        tokens_max(graph.tokens_max()) {}
  // NOLINTNEXTLINE(google-explicit-constructor): of one input.
  InputSpec(const graph::Port& port) : ports(&port, 1) {}

  absl::Span<const graph::Port> ports;
  const graph::Port* positions = nullptr;  // or null: none are taken
  int64_t tokens_max = graph::kTokensMax;
  bool refuse_non_finite = false;  // floats that are NaN or infinite
};

// One per input of the model, in its order, each [rows, elements of a row]; an
// optional input that was not sent has no data. The matrices point into the
// request, or into scratch.
struct DecodedInputs {
  absl::InlinedVector<tensor::TypedRows, 2> matrices;
  int64_t rows = 0;
  int64_t tokens = 1;  // of each row, where rows are sequences of any length
  // [rows, any number], each below `tokens`; none were sent: no data.
  tensor::TypedRows positions;
  // Of each input, the rows that hold NaN or infinity.
  int64_t non_finite_rows = 0;

  int64_t positions_per_row() const {
    return positions.data == nullptr ? 0 : positions.width;
  }
  absl::Span<const int32_t> Positions() const {
    return {static_cast<const int32_t*>(positions.data),
            static_cast<size_t>(rows * positions_per_row())};
  }
};

// Memory for what must be converted or aligned, one buffer per input.
using InputScratch = std::vector<tensor::FloatBuffer>;

// "FP32", "INT64", ...: the protocol's name of what may be sent.
absl::string_view WireName(tensor::DataType type);
std::optional<tensor::DataType> TypeOfWireName(absl::string_view name);

// Takes the tensors of one request, one after the other.
class InputDecoder {
 public:
  // With `bare_row`, a shape without the batch dimension is one row.
  InputDecoder(const InputSpec& spec, bool bare_row, InputScratch& scratch);

  // The index of the input of that name, which was not added before; that of
  // the positions is behind those of the ports.
  absl::StatusOr<size_t> Find(absl::string_view name) const;
  // Whether its elements may be sent as `type`.
  static bool Takes(const graph::Port& port, tensor::DataType type);
  // `type` is one that the port takes; `bytes` are elements, row-major,
  // little-endian. The shape first, then the data, so that each error names its
  // field.
  absl::Status AddShape(size_t index, absl::Span<const int64_t> shape);
  // Elements that the shape says.
  int64_t RowWidth(size_t index) const;
  int64_t rows() const { return decoded_.rows; }
  absl::Status AddData(size_t index, tensor::DataType type,
                       absl::string_view bytes);
  // The index that Find gave.
  const graph::Port& port(size_t index) const {
    return index < spec_.ports.size() ? spec_.ports[index] : *spec_.positions;
  }
  // INVALID_ARGUMENT when an input is missing that is not optional, or a
  // position is beyond its row's tokens.
  absl::StatusOr<DecodedInputs> Finish() &&;

 private:
  const InputSpec spec_;
  const bool bare_row_;
  InputScratch& scratch_;
  DecodedInputs decoded_;
  bool IsPositions(size_t index) const { return index == spec_.ports.size(); }
  absl::Status CheckPositions() const;

  int64_t positions_per_row_ = 0;
  const graph::Port* first_ = nullptr;  // whose shape says rows and tokens
  const graph::Port* sequence_ = nullptr;
};

}  // namespace fff::rpc

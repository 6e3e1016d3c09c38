#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/prediction.h"
#include "fff/v1/inference.pb.h"

// From the files of `fffctl predict --input` to the inputs of a model.
namespace fff::cli {

// One `--input`: [NAME=]FILE[:KEY].
struct InputArgument {
  std::string name;  // empty: the model's first input
  std::string file;
  std::string key;  // of an array in the archive FILE; empty: none is named
};

// A text that is the path of a file is that FILE, whatever signs it holds. A
// KEY is one only behind the path of a file.
InputArgument ParseInputArgument(const std::string& text);

// All inputs; of a server that describes the first input only, that one.
std::vector<v1::TensorMetadata> PortsOf(const v1::GetModelResponse& model);

// The model's input of that name, the first for "". NOT_FOUND lists the names.
absl::StatusOr<v1::TensorMetadata> FindPort(const v1::GetModelResponse& model,
                                            const std::string& name);

// Elements of a tensor of this shape, -1 standing for `sequence`. Shapes come
// from a peer: 0 for sizes that are none, at most 2^40.
int64_t ElementsOf(const v1::TensorMetadata& port, int64_t sequence);

// Whether rows of differing lengths fit the input.
bool IsSequence(const v1::TensorMetadata& port);

// "INT64"; FP32 where the server says no datatype.
std::string DataTypeName(const v1::TensorMetadata& port);

// "INT64 [sequence], optional".
std::string PortText(const v1::TensorMetadata& port);

struct PortOptions {
  int64_t limit = 0;      // rows kept; 0 = all
  std::string normalize;  // "MEAN,STD"; "" = by the file's kind
};

// The rows of a file, as one input takes them.
struct PortRows {
  InputArgument argument;
  v1::TensorMetadata port;
  std::vector<int64_t> widths;   // elements of each row
  std::vector<int64_t> offsets;  // elements before each row, then all
  int64_t element_bytes = 0;
  std::string bytes;  // little-endian elements, row after row

  int64_t rows() const { return static_cast<int64_t>(widths.size()); }
  // Length of the row's sequence; 1 for an input that is none.
  int64_t sequence(int64_t row) const;
  // These rows, which have one length; points into `bytes`.
  client::NamedInput Slice(int64_t first, int64_t count) const;
};

// Reads `contents` as the input's datatype asks: numbers with a fraction for
// floats, whole numbers in the type's range for others, and pixels for both.
// INVALID_ARGUMENT names the file: what its reader says, numbers that do not
// fit the datatype, rows that do not fit the shape.
absl::StatusOr<PortRows> ReadPort(const InputArgument& argument,
                                  const v1::TensorMetadata& port,
                                  const std::string& contents,
                                  const PortOptions& options);

// INVALID_ARGUMENT when an input is given twice or files differ in rows.
absl::Status CheckPorts(absl::Span<const PortRows> ports);

// How many rows from `first` on have the length of that row, `most` at most.
int64_t RowsAlike(absl::Span<const PortRows> ports, int64_t first,
                  int64_t most);

}  // namespace fff::cli

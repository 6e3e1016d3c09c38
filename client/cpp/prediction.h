#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fff/v1/inference.pb.h"

// What a prediction asks and answers.
namespace fff::client {

// Row-major float32 rows that the caller owns: rows x width floats.
struct Rows {
  const float* data = nullptr;
  int64_t rows = 0;
  int64_t width = 0;
};

// One input of a model by its name, of any datatype.
struct NamedInput {
  std::string name;  // empty: the model's first input
  v1::DataType type = v1::DATA_TYPE_UNSPECIFIED;
  // [rows, <the input's shape>]; all inputs of a request have the same rows.
  std::vector<int64_t> shape;
  // product(shape) elements, row-major, little-endian. The caller owns them.
  absl::string_view bytes;
};

struct PredictOptions {
  int64_t version = 0;  // 0 = the version served by default
  bool dense = false;   // ask the dense twin instead
  bool routing = false;
  bool labels = false;
  std::string request_id;
  absl::Duration timeout = absl::ZeroDuration();  // zero: ConnectOptions'
  // Of one of `Rows`, as the model's input has it; its product is their width.
  // Empty: [width].
  std::vector<int64_t> row_shape = {};
  // Above 0: instead of all columns of the main output so many, the strongest
  // first.
  int64_t top_k = 0;
  // Names of the outputs that are wanted; empty: all that the model has.
  std::vector<std::string> outputs = {};
};

// An output beside the main one.
struct NamedOutput {
  std::string name;
  int64_t width = 0;           // numbers per row
  std::vector<int64_t> shape;  // [rows, <the output's shape>]
  std::vector<float> values;   // product(shape) = rows x width
};

struct Prediction {
  std::string model;
  int64_t version = 0;
  bool dense = false;  // answered by the dense twin, asked as either
  int64_t rows = 0;
  // The main output; width 0 where PredictOptions::outputs does not name it.
  int64_t width = 0;                // product of the model's output shape
  std::vector<int64_t> shape;       // [rows, <the model's output shape>]
  std::vector<float> output;        // product(shape) = rows x width
  std::vector<NamedOutput> others;  // in the model's order
  // With top_k: the columns that `output` holds, one for each of its numbers.
  std::vector<int64_t> top_ids;
  // When asked for and known: of every answer's strongest column, with top_k of
  // every number in `output`.
  std::vector<std::string> labels;
  std::vector<v1::LayerRouting> routing;
  int64_t queue_ns = 0;
  int64_t compute_ns = 0;
  int64_t batch_rows = 0;
};

}  // namespace fff::client

#pragma once

#include <cstdint>
#include <string>
#include <vector>

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

struct PredictOptions {
  int64_t version = 0;  // 0 = the version served by default
  bool dense = false;   // ask the dense twin instead
  bool routing = false;
  bool labels = false;
  std::string request_id;
  absl::Duration timeout = absl::ZeroDuration();  // zero: ConnectOptions'
  // Of one row, as the model's input has it; its product is the rows' width.
  // Empty: [width].
  std::vector<int64_t> row_shape = {};
};

struct Prediction {
  std::string model;
  int64_t version = 0;
  int64_t rows = 0;
  int64_t width = 0;                // product of the model's output shape
  std::vector<float> output;        // [rows, width]
  std::vector<std::string> labels;  // one a row, when asked for and known
  std::vector<v1::LayerRouting> routing;
  int64_t queue_ns = 0;
  int64_t compute_ns = 0;
  int64_t batch_rows = 0;
};

}  // namespace fff::client

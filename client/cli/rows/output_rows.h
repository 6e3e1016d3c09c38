#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/prediction.h"
#include "fff/v1/inference.pb.h"

namespace fff::cli {

// All outputs; of a server that describes the main one only, that one.
std::vector<v1::TensorMetadata> OutputsOf(const v1::GetModelResponse& model);

// The answers of one output beside the main one for all rows of a run: of each
// row, or of each token of it.
struct OutputRows {
  std::string name;
  bool tokens = false;
  int64_t width = 0;  // of a row or token
  std::vector<float> values;
  std::vector<int64_t> row_shape;  // of one row; empty where rows differ
  std::vector<int64_t> ends;       // in `values`, by row

  int64_t rows() const { return static_cast<int64_t>(ends.size()); }
  absl::Span<const float> row(int64_t r) const;
  // Of the values as one array: [all tokens, width] where rows differ.
  std::vector<int64_t> Shape() const;
  // Adds the answer to further rows. INTERNAL when its width is another.
  absl::Status Append(const client::NamedOutput& answer);
};

}  // namespace fff::cli

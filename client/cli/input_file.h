#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fff::cli {

// Rows for a model, from a file of any supported format.
struct InputMatrix {
  int64_t rows = 0;
  int64_t width = 0;
  std::vector<float> values;  // [rows, width]
  bool is_image = false;      // IDX and PNG: pixels 0..255
  std::string what;           // "PNG of 28x28 pixels", for messages
};

// Recognises .npy, IDX and PNG by content; anything else is read as CSV. The
// first dimension of an array is its rows; an array of one dimension and a PNG
// are one row. INVALID_ARGUMENT as the format's reader says.
absl::StatusOr<InputMatrix> ParseInput(absl::string_view bytes);

// The expected classes: IDX of one dimension, .npy of integers, or CSV of
// integers; exactly `rows` of them or more (`rows` are kept).
absl::StatusOr<std::vector<int64_t>> ParseTruth(absl::string_view bytes,
                                                int64_t rows);

// values = (values / 255 - mean) / std, as image models are trained.
struct Normalization {
  float mean = 0.5F;
  float std = 0.5F;
};
// "MEAN,STD" of finite numbers, std > 0.
absl::StatusOr<Normalization> ParseNormalization(absl::string_view text);
void Normalize(const Normalization& normalization, absl::Span<float> values);

}  // namespace fff::cli

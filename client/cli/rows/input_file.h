#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fff::cli {

// What the numbers of a file are read as.
enum class Elements { kFloats, kIntegers };

struct InputForm {
  Elements elements = Elements::kFloats;
  bool rows_may_differ = false;  // in width
};

// Rows for a model, from a file of any supported format.
struct InputMatrix {
  std::vector<int64_t> widths;  // elements of each row
  // All elements, row after row, in the vector of the form's elements.
  std::vector<float> values;
  std::vector<int64_t> integers;
  // Of one row of an array; empty where its dimensions are not known.
  std::vector<int64_t> row_shape;
  bool is_image = false;  // IDX and PNG: pixels 0..255
  std::string what;       // "PNG of 28x28 pixels", for messages

  int64_t rows() const { return static_cast<int64_t>(widths.size()); }
};

// Recognises .npy, IDX and PNG by content; anything else is read as CSV. The
// first dimension of an array is its rows; an array of one dimension or none
// and a PNG are one row. INVALID_ARGUMENT as the format's reader says. Rows of
// a CSV file alone can differ in width.
absl::StatusOr<InputMatrix> ParseInput(absl::string_view bytes,
                                       const InputForm& form = {});

struct TruthForm {
  int64_t answers = 0;       // of rows, or of all tokens
  bool may_be_more = false;  // of which the first are kept
  bool of_tokens = false;    // a line or a row of an array per row
};

// The expected classes: IDX of one dimension, .npy of integers, or CSV of
// integers; one dimension, one label per line or all in one line, unless they
// are of tokens.
absl::StatusOr<std::vector<int64_t>> ParseTruth(absl::string_view bytes,
                                                const TruthForm& form);

// values = (values / 255 - mean) / std, as image models are trained.
struct Normalization {
  float mean = 0.5F;
  float std = 0.5F;
};
// "MEAN,STD" of finite numbers, std > 0.
absl::StatusOr<Normalization> ParseNormalization(absl::string_view text);
void Normalize(const Normalization& normalization, absl::Span<float> values);

}  // namespace fff::cli

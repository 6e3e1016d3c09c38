#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "fff/v1/inference.pb.h"

namespace fff::cli {

// The answers for all rows of one run of `fffctl predict`.
struct Predictions {
  std::string model;
  int64_t version = 0;
  bool dense = false;
  int64_t rows = 0;
  int64_t width = 0;
  std::vector<float> output;        // [rows, width]
  std::vector<std::string> labels;  // of the columns; empty when unknown
  std::vector<int64_t> truth;       // one a row, or empty
  // One entry a request, with the first row it covers.
  struct RoutedRows {
    int64_t first_row;
    int64_t rows;
    std::vector<v1::LayerRouting> layers;
  };
  std::vector<RoutedRows> routing;
  std::vector<double> request_s;  // wall time of every request

  absl::Span<const float> row(int64_t r) const;
  // Column of the largest value, the first among equals.
  int64_t ArgMax(int64_t r) const;
  // The column's label, or its number.
  std::string LabelOf(int64_t column) const;
  // Rows whose strongest column is the truth; 0 without truth.
  int64_t Correct() const;
  // The routing drawn for a row; "" when there is none.
  std::string Drawing(int64_t r) const;
};

// For people: a table of the first `show` rows (none when 0), drawings of their
// routing, a blank line, and a summary with time and, given the truth,
// accuracy.
std::string PredictionsText(const Predictions& predictions, int64_t show);

// For programs: one JSON object with model, version, implementation, rows,
// seconds, correct and accuracy (given the truth), and `predictions`: row,
// index, label, scores, truth and routing (leaf and margins a layer and tree).
std::string PredictionsJson(const Predictions& predictions);

}  // namespace fff::cli

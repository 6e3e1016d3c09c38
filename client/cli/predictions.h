#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cli/rows/output_rows.h"
#include "fff/v1/inference.pb.h"

namespace fff::cli {

// The answers for all rows of one run of `fffctl predict`: one per row, or one
// per token of each row.
struct Predictions {
  std::string model;
  int64_t version = 0;
  bool dense = false;
  int64_t rows = 0;
  std::string name;           // of the main output, which all below are of
  int64_t width = 0;          // columns of one answer
  std::vector<float> output;  // [answers, width]
  // Which columns these are, strongest first; empty: all, in their order.
  std::vector<int64_t> ids;
  std::vector<int64_t> tokens;      // of each row; empty: one answer per row
  std::vector<std::string> labels;  // of the columns; empty when unknown
  std::vector<int64_t> truth;       // one per answer, or empty
  // The output of one row; empty where rows differ.
  std::vector<int64_t> row_shape;
  // One entry per request, with the first row it covers.
  struct RoutedRows {
    int64_t first_row;
    int64_t rows;
    std::vector<v1::LayerRouting> layers;
  };
  std::vector<RoutedRows> routing;
  std::vector<double> request_s;   // wall time of every request
  std::vector<OutputRows> others;  // of the outputs beside the main one

  int64_t answers() const;
  absl::Span<const float> answer(int64_t a) const;
  // Whose answer each one is; token 0 where rows have one answer.
  struct Place {
    int64_t row;
    int64_t token;
  };
  std::vector<Place> Places() const;
  // Of the output as one array: [answers, width] where rows differ.
  std::vector<int64_t> Shape() const;
  // The column of the answer's number at `i`.
  int64_t ColumnAt(int64_t a, int64_t i) const;
  // Column of the largest value, the first among equals; and that value.
  int64_t ArgMax(int64_t a) const;
  float Strongest(int64_t a) const;
  // The column's label, or its number.
  std::string LabelOf(int64_t column) const;
  // Answers whose strongest column is the truth; 0 without truth.
  int64_t Correct() const;
  // The routing drawn for a row; "" when there is none.
  std::string Drawing(int64_t r) const;
};

// For people: a table of the first `show` answers (none when 0), drawings of
// their rows' routing, a blank line, and a summary with time, the outputs where
// there are several and, given the truth, accuracy.
std::string PredictionsText(const Predictions& predictions, int64_t show);

// For programs: one JSON object. It has model, version, implementation, rows,
// seconds, correct and accuracy (given the truth), and `predictions`. One of
// these per answer has row, token (where there are several), index, label,
// scores, truth, and ids (where the scores are the strongest alone). The first
// answer of a row also has the row's routing, leaf and margins per layer, token
// and tree, and its outputs, the numbers of each output beside the main one.
std::string PredictionsJson(const Predictions& predictions);

}  // namespace fff::cli

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fff::cli {

// Rows of finite numbers.
struct CsvTable {
  std::vector<int64_t> widths;  // cells of each row
  std::vector<double> values;   // row after row

  int64_t rows() const { return static_cast<int64_t>(widths.size()); }
};

enum class CsvRows { kOfOneWidth, kOfAnyWidth };

// Comma-separated numbers, one row a line; blank lines are skipped, and so is a
// first line in which no cell is a number (column titles). INVALID_ARGUMENT
// names line and column, what was got and wanted; rows of differing widths are
// wrong unless they may be of any.
absl::StatusOr<CsvTable> ParseCsv(absl::string_view text,
                                  CsvRows rows = CsvRows::kOfOneWidth);

}  // namespace fff::cli

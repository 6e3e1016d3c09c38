#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fff::cli {

// Rows of finite numbers, all of the same count.
struct CsvTable {
  int64_t rows = 0;
  int64_t width = 0;
  std::vector<double> values;  // [rows, width]
};

// Comma-separated numbers, one row a line; blank lines are skipped, and so is a
// first line in which no cell is a number (column titles). INVALID_ARGUMENT
// names line and column, what was got and wanted.
absl::StatusOr<CsvTable> ParseCsv(absl::string_view text);

}  // namespace fff::cli

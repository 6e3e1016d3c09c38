#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fff::cli {

// Rows of numbers; of the two vectors the one that the form asks for is filled,
// row after row.
struct CsvTable {
  std::vector<int64_t> widths;  // cells of each row
  std::vector<double> values;   // finite and within FP32
  std::vector<int64_t> integers;

  int64_t rows() const { return static_cast<int64_t>(widths.size()); }
};

struct CsvForm {
  bool rows_may_differ = false;  // in width
  bool integers = false;         // whole numbers, without loss
  bool counting_is_row = false;  // a first line 0,1,2,.. holds no titles
};

// A table of numbers as spreadsheets, pandas and numpy.savetxt write it, UTF-8
// with or without a byte order mark. One row per line; see csv_records.h for
// lines and quotes. The first line with a tab, semicolon, comma or blanks
// between two cells says what stands between all cells; Excel's `sep=;` in the
// first line does so, too. Passed over are a first line of column titles, and
// separators at the end of the lines.
//
// Numbers between semicolons or tabs may have decimal commas. Where each comma
// may also set thousands apart (1,234) the file is refused.
//
// INVALID_ARGUMENT names line and column, what was got and wanted. Refused are:
//   - cells that are empty, NA or no finite number
//   - rows of differing widths, unless they may differ
//   - an index column without a title, as pandas' to_csv writes it
//   - a first line 0,1,2,.. which may be titles or a row
//   - more titles than cells
//   - UTF-16, and bytes that are no text.
absl::StatusOr<CsvTable> ParseCsv(absl::string_view bytes,
                                  const CsvForm& form = {});

}  // namespace fff::cli

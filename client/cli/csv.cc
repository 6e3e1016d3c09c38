#include "client/cli/csv.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

using Cells = std::vector<absl::string_view>;

bool IsTitles(const Cells& cells) {
  double ignored = 0;
  return std::none_of(cells.begin(), cells.end(), [&](absl::string_view cell) {
    return absl::SimpleAtod(cell, &ignored);
  });
}

absl::Status AppendRow(const Cells& cells, int64_t line, CsvRows rows,
                       CsvTable* table) {
  const auto width = static_cast<int64_t>(cells.size());
  if (rows == CsvRows::kOfOneWidth && table->rows() > 0 &&
      width != table->widths[0]) {
    return absl::InvalidArgumentError(absl::StrCat(
        "CSV line ", line, ": got ", cells.size(), " cells, wanted ",
        table->widths[0], " as in the first row"));
  }
  for (size_t c = 0; c < cells.size(); ++c) {
    double value = 0;
    if (!absl::SimpleAtod(cells[c], &value) || !std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "CSV line ", line, ", column ", c + 1, ": got '",
          base::Printable(absl::StripAsciiWhitespace(cells[c]), 40),
          "', wanted a finite number"));
    }
    table->values.push_back(value);
  }
  table->widths.push_back(width);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CsvTable> ParseCsv(absl::string_view text, CsvRows rows) {
  CsvTable table;
  int64_t number = 0;
  bool first = true;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const Cells cells = absl::StrSplit(line, ',');
    const bool titles = first && IsTitles(cells);
    first = false;
    if (titles) continue;
    FFF_RETURN_IF_ERROR(AppendRow(cells, number, rows, &table));
  }
  if (table.rows() == 0) {
    return absl::InvalidArgumentError(
        "got no row of numbers, wanted a .npy, IDX, PNG or CSV file");
  }
  return table;
}

}  // namespace fff::cli

#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// From the text of a CSV file to its lines, and from a line to its cells. All
// texts point into the file.
namespace fff::cli {

// One line, or several where quotes hold line ends.
struct CsvRecord {
  int64_t line = 0;  // number of its first line, from 1
  absl::string_view text;
};

// The records of a file, one after another. Blank lines and lines that start
// with '#' are passed over. Lines end with LF, CR LF or CR.
class CsvRecords {
 public:
  explicit CsvRecords(absl::string_view text) : rest_(text) {}

  // Whether there was another record. INVALID_ARGUMENT names the line of a
  // quote that nothing closes.
  absl::StatusOr<bool> Next(CsvRecord* record);

 private:
  // Takes one line, with the lines that its quotes hold if they count.
  absl::StatusOr<absl::string_view> TakeLine(bool quotes_count);

  absl::string_view rest_;
  int64_t line_ = 1;  // number of the line that rest_ starts with
};

// What stands between two cells.
enum class Delimiter {
  kNone,  // the line is one cell
  kComma,
  kSemicolon,
  kTab,
  kBlanks,  // one or more
};

// By what the line holds outside of quotes: a tab or a semicolon, else a comma,
// else blanks between words. INVALID_ARGUMENT for tabs beside semicolons.
absl::StatusOr<Delimiter> FindDelimiter(const CsvRecord& record);

// Replaces `cells` with the line's cells, without blanks around them and
// without their quotes. A doubled quote stays doubled: no number holds one.
void SplitCells(absl::string_view text, Delimiter delimiter,
                std::vector<absl::string_view>* cells);

}  // namespace fff::cli

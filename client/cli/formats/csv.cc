#include "client/cli/formats/csv.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/formats/csv_cell.h"
#include "client/cli/formats/csv_records.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

constexpr absl::string_view kIndexAdvice =
    "the first column looks like an index: write the file without it (in "
    "pandas to_csv(..., index=False)) or give it a title";

absl::Status AtLine(int64_t line, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("CSV line ", line, ": ", what));
}

// Column titles: a word or more, and no number.
bool AreTitles(const std::vector<absl::string_view>& cells) {
  return std::any_of(cells.begin(), cells.end(), IsWord) &&
         std::none_of(cells.begin(), cells.end(), IsNumber);
}

bool IsIndexTitle(absl::string_view title) {
  return title.empty() || title == "Unnamed: 0";
}

// Whether the cells are 0, 1, 2, .., as pandas titles columns without names.
bool CountColumns(const std::vector<absl::string_view>& cells) {
  for (size_t c = 0; c < cells.size(); ++c) {
    if (cells[c] != absl::StrCat(c)) return false;
  }
  return true;
}

// Reads the records of one file into a table.
class TableReader {
 public:
  explicit TableReader(const CsvForm& form) : form_(form) {}

  absl::Status Add(const CsvRecord& record) {
    const bool first = records_++ == 0;
    if (first && TakeSeparatorLine(record)) return absl::OkStatus();
    Delimiter delimiter = delimiter_;
    if (delimiter == Delimiter::kNone) {
      FFF_ASSIGN_OR_RETURN(delimiter, FindDelimiter(record));
    }
    SplitCells(record.text, delimiter, &cells_);
    if (table_.rows() == 0 && titles_.line == 0 && AreTitles(cells_)) {
      titles_ = record;
      return absl::OkStatus();
    }
    delimiter_ = delimiter;
    return AddRow(record.line);
  }

  absl::StatusOr<CsvTable> Finish() {
    if (table_.rows() == 0) {
      return absl::InvalidArgumentError(
          "got no row of numbers, wanted a .npy, .npz, IDX, PNG or CSV file");
    }
    FFF_RETURN_IF_ERROR(commas_.Check());
    return std::move(table_);
  }

 private:
  // Excel's first line: sep=;
  bool TakeSeparatorLine(const CsvRecord& record) {
    absl::string_view text = absl::StripTrailingAsciiWhitespace(record.text);
    if (!absl::ConsumePrefix(&text, "sep=")) return false;
    if (text.empty()) delimiter_ = Delimiter::kTab;
    if (text == ",") delimiter_ = Delimiter::kComma;
    if (text == ";") delimiter_ = Delimiter::kSemicolon;
    return delimiter_ != Delimiter::kNone;
  }

  // What the titles say about the first row, whose cells are in cells_.
  absl::Status CheckTitles(int64_t line) {
    std::vector<absl::string_view> titles;
    if (titles_.line > 0) {
      SplitCells(titles_.text, delimiter_, &titles);
    }
    titles_count_ = titles.size();
    while (titles_count_ > 1 && titles[titles_count_ - 1].empty()) {
      --titles_count_;
    }
    if (titles.size() > 1 && IsIndexTitle(titles.front())) {
      return AtLine(titles_.line, absl::StrCat("got a column without a title, ",
                                               kIndexAdvice));
    }
    if (titles.empty() && cells_.size() > 1 && cells_.front().empty()) {
      return AtLine(line,
                    absl::StrCat("got an empty first cell, ", kIndexAdvice));
    }
    return absl::OkStatus();
  }

  // Empty cells behind the last separators of a line, as many as the first row
  // has. A cell below a title is one that is missing.
  void DropTrailing() {
    size_t droppable = cells_.size() - 1;
    if (!form_.rows_may_differ) {
      if (table_.rows() == 0) {
        droppable = std::min(
            droppable, cells_.size() - std::min(titles_count_, cells_.size()));
        trailing_ = 0;
      } else {
        droppable = std::min(droppable, trailing_);
      }
    }
    while (droppable > 0 && cells_.back().empty()) {
      cells_.pop_back();
      --droppable;
      if (table_.rows() == 0) ++trailing_;
    }
  }

  absl::Status CheckWidth(int64_t line) {
    if (form_.rows_may_differ) return absl::OkStatus();
    const auto width = static_cast<int64_t>(cells_.size());
    if (table_.rows() > 0 && width != table_.widths[0]) {
      return AtLine(
          line, absl::StrCat("got ", width, " cells, wanted ", table_.widths[0],
                             " as in the first row"));
    }
    if (table_.rows() == 0 && titles_count_ > 0 &&
        cells_.size() == titles_count_ + 1) {
      return AtLine(line,
                    absl::StrCat("got ", width, " cells below ", titles_count_,
                                 titles_count_ == 1 ? " title" : " titles",
                                 "; with decimal commas, put semicolons "
                                 "between the cells; if not, ",
                                 kIndexAdvice));
    }
    if (table_.rows() == 0 && cells_.size() < titles_count_) {
      return AtLine(line, absl::StrCat("got ", width, " cells below ",
                                       titles_count_, " titles"));
    }
    return absl::OkStatus();
  }

  // A first line 0,1,2,.. above another one as wide.
  absl::Status CheckCounting(int64_t line) {
    if (form_.counting_is_row) return absl::OkStatus();
    if (table_.rows() == 0) {
      // Of masks and ids, 0,1 is no strange beginning.
      const size_t columns_min = form_.integers ? 3 : 2;
      const bool counts = titles_.line == 0 && cells_.size() >= columns_min &&
                          CountColumns(cells_);
      counting_line_ = counts ? line : 0;
    } else if (table_.rows() == 1 && counting_line_ > 0 &&
               static_cast<int64_t>(cells_.size()) == table_.widths[0]) {
      return AtLine(counting_line_,
                    absl::StrCat("got 0, 1, 2, ..., which may be titles or a "
                                 "row: if titles, write the file without them "
                                 "(in pandas to_csv(..., header=False)); if a "
                                 "row, ",
                                 form_.integers ? "put titles above it"
                                                : "write 0.0, 1.0, ..."));
    }
    return absl::OkStatus();
  }

  absl::Status AddRow(int64_t line) {
    if (table_.rows() == 0) FFF_RETURN_IF_ERROR(CheckTitles(line));
    DropTrailing();
    FFF_RETURN_IF_ERROR(CheckWidth(line));
    FFF_RETURN_IF_ERROR(CheckCounting(line));
    const bool decimal_commas =
        delimiter_ == Delimiter::kSemicolon || delimiter_ == Delimiter::kTab;
    for (size_t c = 0; c < cells_.size(); ++c) {
      const CsvPlace place{line, static_cast<int64_t>(c) + 1};
      FFF_ASSIGN_OR_RETURN(const std::string text,
                           commas_.WithPoint(cells_[c], decimal_commas, place));
      if (form_.integers) {
        FFF_ASSIGN_OR_RETURN(const int64_t integer, ParseInteger(text, place));
        table_.integers.push_back(integer);
      } else {
        FFF_ASSIGN_OR_RETURN(const double value, ParseNumber(text, place));
        table_.values.push_back(value);
      }
    }
    table_.widths.push_back(static_cast<int64_t>(cells_.size()));
    return absl::OkStatus();
  }

  CsvForm form_;
  CsvTable table_;
  DecimalCommas commas_;
  Delimiter delimiter_ = Delimiter::kNone;  // until a line shows one
  CsvRecord titles_;                        // line 0: there are none
  size_t titles_count_ = 0;
  size_t trailing_ = 0;  // empty cells at the end of the first row
  int64_t counting_line_ = 0;
  int64_t records_ = 0;
  std::vector<absl::string_view> cells_;  // of the record at hand
};

// The text behind its byte order mark.
absl::StatusOr<absl::string_view> TextOf(absl::string_view bytes) {
  absl::ConsumePrefix(&bytes, "\xEF\xBB\xBF");
  if (absl::StartsWith(bytes, "\xFF\xFE") ||
      absl::StartsWith(bytes, "\xFE\xFF")) {
    return absl::InvalidArgumentError(
        "got a text in UTF-16, wanted UTF-8: save it as \"CSV UTF-8\"");
  }
  constexpr size_t kLookedAt = 4096;
  for (const char c : bytes.substr(0, kLookedAt)) {
    // Below the tab no sign is for text.
    if (static_cast<unsigned char>(c) > 8) continue;
    return absl::InvalidArgumentError(
        "got bytes that are no text, wanted a .npy, .npz, IDX, PNG or CSV "
        "file (a text in UTF-16 must be saved as UTF-8)");
  }
  return bytes;
}

}  // namespace

absl::StatusOr<CsvTable> ParseCsv(absl::string_view bytes,
                                  const CsvForm& form) {
  FFF_ASSIGN_OR_RETURN(const absl::string_view text, TextOf(bytes));
  CsvRecords records(text);
  TableReader reader(form);
  CsvRecord record;
  while (true) {
    FFF_ASSIGN_OR_RETURN(const bool more, records.Next(&record));
    if (!more) return reader.Finish();
    FFF_RETURN_IF_ERROR(reader.Add(record));
  }
}

}  // namespace fff::cli

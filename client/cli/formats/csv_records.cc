#include "client/cli/formats/csv_records.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

char SignOf(Delimiter delimiter) {
  switch (delimiter) {
    case Delimiter::kComma:
      return ',';
    case Delimiter::kSemicolon:
      return ';';
    default:
      return '\t';
  }
}

absl::string_view Unquoted(absl::string_view cell) {
  cell = absl::StripAsciiWhitespace(cell);
  if (cell.size() < 2 || cell.front() != '"' || cell.back() != '"') return cell;
  return absl::StripAsciiWhitespace(cell.substr(1, cell.size() - 2));
}

void SplitAtBlanks(absl::string_view text,
                   std::vector<absl::string_view>* cells) {
  size_t at = 0;
  while (true) {
    while (at < text.size() && IsBlank(text[at])) ++at;
    if (at == text.size()) return;
    const size_t start = at;
    bool quoted = false;
    while (at < text.size() && (quoted || !IsBlank(text[at]))) {
      quoted ^= text[at] == '"';
      ++at;
    }
    cells->push_back(Unquoted(text.substr(start, at - start)));
  }
}

}  // namespace

absl::StatusOr<absl::string_view> CsvRecords::TakeLine(bool quotes_count) {
  const int64_t first_line = line_;
  bool quoted = false;
  size_t end = 0;
  for (; end < rest_.size(); ++end) {
    const char c = rest_[end];
    if (c == '"' && quotes_count) quoted = !quoted;
    if (c != '\n' && c != '\r') continue;
    if (!quoted) break;
    line_ += c == '\n' || rest_.substr(end, 2) != "\r\n" ? 1 : 0;
  }
  if (quoted) {
    return absl::InvalidArgumentError(absl::StrCat(
        "CSV line ", first_line, ": got a quote (\") that nothing closes"));
  }
  const absl::string_view line = rest_.substr(0, end);
  const size_t ending = rest_.substr(end, 2) == "\r\n" ? 2 : 1;
  rest_.remove_prefix(std::min(end + ending, rest_.size()));
  ++line_;
  return line;
}

absl::StatusOr<bool> CsvRecords::Next(CsvRecord* record) {
  while (!rest_.empty()) {
    const absl::string_view start =
        rest_.substr(std::min(rest_.find_first_not_of(" \t"), rest_.size()));
    const bool is_comment = absl::StartsWith(start, "#");
    record->line = line_;
    FFF_ASSIGN_OR_RETURN(record->text, TakeLine(!is_comment));
    if (is_comment || absl::StripAsciiWhitespace(record->text).empty()) {
      continue;
    }
    return true;
  }
  return false;
}

absl::StatusOr<Delimiter> FindDelimiter(const CsvRecord& record) {
  bool tabs = false;
  bool semicolons = false;
  bool commas = false;
  bool quoted = false;
  for (const char c : record.text) {
    quoted ^= c == '"';
    if (quoted) continue;
    tabs |= c == '\t';
    semicolons |= c == ';';
    commas |= c == ',';
  }
  if (tabs && semicolons) {
    return absl::InvalidArgumentError(
        absl::StrCat("CSV line ", record.line,
                     ": got tabs and semicolons, wanted one of them"));
  }
  if (semicolons) return Delimiter::kSemicolon;
  if (tabs) return Delimiter::kTab;
  if (commas) return Delimiter::kComma;
  std::vector<absl::string_view> words;
  SplitAtBlanks(record.text, &words);
  return words.size() > 1 ? Delimiter::kBlanks : Delimiter::kNone;
}

void SplitCells(absl::string_view text, Delimiter delimiter,
                std::vector<absl::string_view>* cells) {
  cells->clear();
  if (delimiter == Delimiter::kBlanks) return SplitAtBlanks(text, cells);
  if (delimiter == Delimiter::kNone) return cells->push_back(Unquoted(text));
  const char sign = SignOf(delimiter);
  bool quoted = false;
  size_t start = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    quoted ^= text[at] == '"';
    if (quoted || text[at] != sign) continue;
    cells->push_back(Unquoted(text.substr(start, at - start)));
    start = at + 1;
  }
  cells->push_back(Unquoted(text.substr(start)));
}

}  // namespace fff::cli

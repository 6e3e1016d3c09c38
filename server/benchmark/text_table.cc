#include "server/benchmark/text_table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

namespace fff::benchmark {
namespace {

constexpr absl::string_view kGap = "  ";

std::string Clean(std::string cell) {
  for (char& c : cell) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return cell;
}

// UTF-8 characters: bytes that do not continue one.
size_t Width(absl::string_view cell) {
  return static_cast<size_t>(std::count_if(
      cell.begin(), cell.end(),
      [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool LooksNumeric(absl::string_view cell) {
  return !cell.empty() &&
         absl::ascii_isdigit(static_cast<unsigned char>(cell.front()));
}

std::string Line(const std::vector<std::string>& cells,
                 const std::vector<size_t>& widths,
                 const std::vector<bool>& right) {
  std::string line;
  for (size_t c = 0; c < cells.size(); ++c) {
    const std::string padding(widths[c] - Width(cells[c]), ' ');
    if (c > 0) line.append(kGap.data(), kGap.size());
    line += right[c] ? padding + cells[c] : cells[c] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace

std::string TextTable(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> cleaned = rows;
  std::vector<size_t> widths;
  std::vector<bool> right(header.size(), !rows.empty());
  for (const std::string& title : header) widths.push_back(Width(title));
  for (std::vector<std::string>& row : cleaned) {
    row.resize(header.size());
    for (size_t c = 0; c < row.size(); ++c) {
      row[c] = Clean(std::move(row[c]));
      widths[c] = std::max(widths[c], Width(row[c]));
      if (!LooksNumeric(row[c]) && row[c] != "-") right[c] = false;
    }
  }
  std::string table = Line(header, widths, right);
  std::vector<std::string> rule;
  for (const size_t width : widths) rule.emplace_back(width, '-');
  table += Line(rule, widths, right);
  for (const std::vector<std::string>& row : cleaned) {
    table += Line(row, widths, right);
  }
  return table;
}

}  // namespace fff::benchmark

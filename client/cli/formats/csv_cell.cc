#include "client/cli/formats/csv_cell.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"

namespace fff::cli {
namespace {

bool IsMissing(absl::string_view cell) {
  for (const absl::string_view word :
       {"NA", "N/A", "#N/A", "<NA>", "null", "none", "-", "?", "NaT"}) {
    if (absl::EqualsIgnoreCase(cell, word)) return true;
  }
  return false;
}

std::string PlaceText(const CsvPlace& place) {
  return absl::StrCat("line ", place.line, ", column ", place.column);
}

absl::Status Wrong(absl::string_view cell, const CsvPlace& place,
                   absl::string_view wanted) {
  const std::string got =
      cell.empty() ? "an empty cell"
                   : absl::StrCat("'", base::Printable(cell, 40), "'",
                                  IsMissing(cell) ? ", a missing value" : "");
  return absl::InvalidArgumentError(absl::StrCat(
      "CSV ", PlaceText(place), ": got ", got, ", wanted ", wanted));
}

// [+-]d, [+-]dd or [+-]ddd, not starting with 0, then a comma and ddd.
bool MayBeThousands(absl::string_view cell) {
  if (absl::StartsWith(cell, "+") || absl::StartsWith(cell, "-")) {
    cell.remove_prefix(1);
  }
  const size_t comma = cell.find(',');
  return comma >= 1 && comma <= 3 && cell.front() != '0' &&
         cell.size() == comma + 4 &&
         std::all_of(cell.begin() + static_cast<std::ptrdiff_t>(comma) + 1,
                     cell.end(), absl::ascii_isdigit);
}

}  // namespace

bool IsNumber(absl::string_view cell) {
  std::string text(cell);
  std::replace(text.begin(), text.end(), ',', '.');
  double ignored = 0;
  return absl::SimpleAtod(text, &ignored);
}

bool IsWord(absl::string_view cell) {
  if (cell.empty() || absl::StrContains("0123456789+-.,", cell.front())) {
    return false;
  }
  return !IsMissing(cell) && !IsNumber(cell) &&
         !absl::EqualsIgnoreCase(cell, "true") &&
         !absl::EqualsIgnoreCase(cell, "false") &&
         std::any_of(cell.begin(), cell.end(), [](char c) {
           return absl::ascii_isalpha(static_cast<unsigned char>(c)) ||
                  (static_cast<unsigned char>(c) & 0x80) != 0;
         });
}

absl::StatusOr<double> ParseNumber(absl::string_view cell,
                                   const CsvPlace& place) {
  double value = 0;
  if (!absl::SimpleAtod(cell, &value) || !std::isfinite(value)) {
    return Wrong(cell, place, "a finite number");
  }
  // Halfway between the largest float and what would follow it.
  if (std::abs(value) >= 0x1.ffffffp127) {
    return Wrong(cell, place, "a number within FP32 (3.4e38)");
  }
  return value;
}

absl::StatusOr<int64_t> ParseInteger(absl::string_view cell,
                                     const CsvPlace& place) {
  int64_t integer = 0;
  if (absl::SimpleAtoi(cell, &integer)) return integer;
  double value = 0;
  if (!absl::SimpleAtod(cell, &value) || !std::isfinite(value)) {
    return Wrong(cell, place, "a finite number");
  }
  // 2^53: every whole number up to it is a double of its own.
  if (value != std::floor(value) || std::abs(value) > 0x1p53) {
    return absl::InvalidArgumentError(absl::StrCat(
        "CSV ", PlaceText(place), ": got ", base::Printable(cell, 40),
        ", wanted whole numbers within INT64"));
  }
  return static_cast<int64_t>(value);
}

absl::StatusOr<std::string> DecimalCommas::WithPoint(absl::string_view cell,
                                                     bool commas_are_decimal,
                                                     const CsvPlace& place) {
  std::string text(cell);
  if (!commas_are_decimal) return text;
  const auto commas = std::count(cell.begin(), cell.end(), ',');
  const bool has_point = absl::StrContains(cell, '.');
  if (commas > 0 && has_point) {
    return Wrong(cell, place,
                 "a decimal comma or a decimal point, without thousands set "
                 "apart");
  }
  if (has_point && point_.line == 0) point_ = place;
  if (commas != 1) return text;
  if (comma_.line == 0) comma_ = place;
  plain_ = plain_ || !MayBeThousands(cell);
  std::replace(text.begin(), text.end(), ',', '.');
  return text;
}

absl::Status DecimalCommas::Check() const {
  if (comma_.line == 0) return absl::OkStatus();
  if (point_.line > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "CSV ", PlaceText(comma_), ": got a comma within a number, and at ",
        PlaceText(point_), " a point, wanted one of them in all numbers"));
  }
  if (plain_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "CSV ", PlaceText(comma_),
      ": got commas that may be decimal or set thousands apart: write the "
      "numbers with a decimal point, without thousands set apart"));
}

}  // namespace fff::cli

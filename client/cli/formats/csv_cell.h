#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// From the text of one cell of a CSV file to its number.
namespace fff::cli {

struct CsvPlace {
  int64_t line = 0;  // from 1, as is the column
  int64_t column = 0;
};

// Whether the cell is a number, with a decimal point or a comma; nan and
// infinity are.
bool IsNumber(absl::string_view cell);

// Whether the cell holds a letter, does not start as numbers do, and is none of
// the words that stand for a value: NA, nan, inf, true and their like.
bool IsWord(absl::string_view cell);

// INVALID_ARGUMENT names the place, and tells an empty cell and a missing value
// (NA, null) from other texts. A number is finite and within FP32; an integer
// may be spelled 2.0 or 2e3 as long as no digit is lost.
absl::StatusOr<double> ParseNumber(absl::string_view cell,
                                   const CsvPlace& place);
absl::StatusOr<int64_t> ParseInteger(absl::string_view cell,
                                     const CsvPlace& place);

// Decimal commas of one file. 1,5 and 0,125 are plain, 1,234 may also be a
// thousand: a file must hold a plain one, and no decimal point.
class DecimalCommas {
 public:
  // The cell with a point for its comma, if commas are decimal here.
  // INVALID_ARGUMENT for a cell that has both signs.
  absl::StatusOr<std::string> WithPoint(absl::string_view cell,
                                        bool commas_are_decimal,
                                        const CsvPlace& place);

  // Once all cells were seen: INVALID_ARGUMENT names a place.
  absl::Status Check() const;

 private:
  CsvPlace comma_;  // the first; line 0: none
  CsvPlace point_;
  bool plain_ = false;
};

}  // namespace fff::cli

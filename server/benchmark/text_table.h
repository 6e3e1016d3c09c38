#pragma once

#include <string>
#include <vector>

namespace fff::benchmark {

// A table in plain text: a header line, a rule, one line per row; columns two
// spaces apart and as wide as their widest cell, counted in UTF-8 characters.
// Cells that look like numbers ("12", "3.1 us", "75x") stand to the right.
// Rows shorter than the header are filled with empty cells; control characters
// in a cell are replaced by '?', because names come from files and peers.
std::string TextTable(const std::vector<std::string>& header,
                      const std::vector<std::vector<std::string>>& rows);

}  // namespace fff::benchmark

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/metrics/metric_table.h"

// Section "Metrics" of server/README.md holds one table row a metric:
// | `name` | type | unit | labels | meaning |
namespace fff::metrics {
namespace {

// The rows that begin with "| `" in the section, one vector of cells each.
std::vector<std::vector<std::string>> DocumentedRows() {
  std::ifstream file(FFF_SOURCE_DIR "/server/README.md");
  EXPECT_TRUE(file) << "server/README.md cannot be read";
  std::vector<std::vector<std::string>> rows;
  bool in_section = false;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "#")) {
      in_section = absl::EndsWith(line, " Metrics");
    }
    if (!in_section || !absl::StartsWith(line, "| `")) continue;
    std::vector<std::string> cells = absl::StrSplit(line, '|');
    for (std::string& cell : cells) {
      cell = absl::StrReplaceAll(cell, {{"`", ""}});
      absl::StripAsciiWhitespace(&cell);
    }
    // A row starts and ends with a bar.
    EXPECT_GE(cells.size(), 2u);
    rows.emplace_back(cells.begin() + 1, cells.end() - 1);
  }
  return rows;
}

// Labels may be written with or without blanks; no label and no unit as nothing
// or a dash.
std::string Normal(const std::string& cell) {
  const std::string text = absl::StrReplaceAll(cell, {{" ", ""}});
  return text == "-" || text == "\xe2\x80\x93" || text == "\xe2\x80\x94" ? ""
                                                                         : text;
}

TEST(Documentation, ListsEveryMetricWithItsTypeUnitAndLabels) {
  const std::vector<std::vector<std::string>> rows = DocumentedRows();
  std::vector<std::string> documented;
  for (const auto& cells : rows) {
    ASSERT_EQ(cells.size(), 5u) << cells.front();
    EXPECT_FALSE(cells[4].empty()) << cells.front();
    documented.push_back(absl::StrCat(cells[0], " | ", cells[1], " | ",
                                      Normal(cells[2]), " | ",
                                      Normal(cells[3])));
  }
  std::vector<std::string> exported;
  for (const MetricDescription& row : MetricTable()) {
    exported.push_back(absl::StrCat(row.name, " | ", Name(row.type), " | ",
                                    row.unit, " | ", row.labels));
  }
  EXPECT_EQ(documented, exported);
}

}  // namespace
}  // namespace fff::metrics

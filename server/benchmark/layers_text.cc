#include "server/benchmark/layers_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/benchmark/format.h"
#include "server/benchmark/text_table.h"

namespace fff::benchmark {
namespace {

using Row = std::vector<std::string>;

// Lines of less than this part of the time on either side are added up.
constexpr double kShareMin = 0.005;

double SumOf(const std::vector<LayerTime>& layers) {
  double sum = 0;
  for (const LayerTime& line : layers) sum += line.seconds;
  return sum;
}

Row Cells(const LayerTime& line, double sum) {
  return {FormatSeconds(line.seconds),
          absl::StrFormat("%.1f%%", sum > 0 ? 100 * line.seconds / sum : 0)};
}

void Append(const Row& cells, Row& row) {
  row.insert(row.end(), cells.begin(), cells.end());
}

// A table of one side, or of two whose lines stand for each other.
class Table {
 public:
  Table(const std::vector<LayerTime>& left, const std::vector<LayerTime>* right)
      : left_(left), right_(right), left_s_(SumOf(left)) {
    if (right_ != nullptr) right_s_ = SumOf(*right_);
  }

  std::vector<Row> Rows() const {
    std::vector<Row> rows;
    LayerTime few_left = {"what takes less", 0};
    LayerTime few_right = few_left;
    for (size_t i = 0; i < left_.size(); ++i) {
      const LayerTime* const right = right_ ? &(*right_)[i] : nullptr;
      if (Large(left_[i], left_s_) ||
          (right != nullptr && Large(*right, right_s_))) {
        rows.push_back(RowOf(left_[i], right));
        continue;
      }
      few_left.count += left_[i].count;
      few_left.seconds += left_[i].seconds;
      if (right != nullptr) few_right.seconds += right->seconds;
    }
    if (few_left.count > 0) {
      rows.push_back(RowOf(few_left, right_ ? &few_right : nullptr));
    }
    return rows;
  }

 private:
  static bool Large(const LayerTime& line, double sum) {
    return line.seconds >= kShareMin * sum;
  }

  Row RowOf(const LayerTime& left, const LayerTime* right) const {
    Row row = {absl::StrCat(left.count, "x")};
    Append(Cells(left, left_s_), row);
    if (right != nullptr) {
      Append(Cells(*right, right_s_), row);
      row.push_back(left.seconds > 0 && right->seconds > 0
                        ? FormatNumber(right->seconds / left.seconds) + "x"
                        : "-");
    }
    row.push_back(base::Printable(left.layer));
    return row;
  }

  const std::vector<LayerTime>& left_;
  const std::vector<LayerTime>* right_;
  double left_s_ = 0;
  double right_s_ = 0;
};

// Whether the dense lines stand for the FFF ones: only these name an FFF layer.
bool Paired(const std::vector<LayerTime>& fff,
            const std::vector<LayerTime>& dense) {
  return std::equal(fff.begin(), fff.end(), dense.begin(), dense.end(),
                    [](const LayerTime& left, const LayerTime& right) {
                      return left.routes == right.routes;
                    });
}

std::string TextOf(const BenchmarkCase& one) {
  const std::vector<LayerTime>& fff = one.fff.layers;
  const std::vector<LayerTime>& dense = one.dense.layers;
  if (Paired(fff, dense)) {
    return TextTable(
        {"layers", "FFF", "share", "dense", "share", "dense/FFF", "layer"},
        Table(fff, &dense).Rows());
  }
  std::string text;
  const Row header = {"layers", "time", "share", "layer"};
  if (!fff.empty()) {
    absl::StrAppend(&text, "FFF:\n",
                    TextTable(header, Table(fff, nullptr).Rows()));
  }
  if (!dense.empty()) {
    absl::StrAppend(&text, "Dense:\n",
                    TextTable(header, Table(dense, nullptr).Rows()));
  }
  return text;
}

}  // namespace

std::string LayersText(const BenchmarkReport& report) {
  std::string text;
  for (const BenchmarkCase& one : report.cases) {
    if (one.fff.layers.empty() && one.dense.layers.empty()) continue;
    absl::StrAppend(&text, "Where the time of a call of ", one.rows,
                    one.rows == 1 ? " row" : " rows", " goes:\n", TextOf(one),
                    "\n");
  }
  return text;
}

}  // namespace fff::benchmark

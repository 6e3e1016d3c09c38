#include "server/serving/batching/top_columns.h"

#include <algorithm>
#include <cmath>

#include "server/base/check.h"

namespace fff::serving {
namespace {

// Orders columns of one row by their values, the stronger first.
struct Stronger {
  const float* row;
  bool operator()(int64_t a, int64_t b) const {
    const float x = row[a];
    const float y = row[b];
    if (std::isnan(x) || std::isnan(y)) {
      return std::isnan(x) && (!std::isnan(y) || a < b);
    }
    return x > y || (x == y && a < b);
  }
};

}  // namespace

void SelectTop(const float* row, int64_t width, int64_t count, float* values,
               int64_t* columns) {
  FFF_DCHECK(count >= 1 && count <= width);
  const Stronger stronger = {row};
  for (int64_t i = 0; i < count; ++i) columns[i] = i;
  // The weakest of those kept is on top. Of 32,768 random scores some ten
  // times `count` ever enter: the rest is one comparison each.
  std::make_heap(columns, columns + count, stronger);
  for (int64_t i = count; i < width; ++i) {
    // The negation also lets NaN in.
    if (row[i] <= row[columns[0]] || !stronger(i, columns[0])) continue;
    std::pop_heap(columns, columns + count, stronger);
    columns[count - 1] = i;
    std::push_heap(columns, columns + count, stronger);
  }
  std::sort_heap(columns, columns + count, stronger);
  for (int64_t i = 0; i < count; ++i) values[i] = row[columns[i]];
}

}  // namespace fff::serving

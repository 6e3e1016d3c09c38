#pragma once

#include <cstdint>

namespace fff::serving {

// Writes the `count` greatest of row [width] to values [count], the greatest
// first, and their columns to columns [count]; 1 <= count <= width. Of equal
// ones the first comes first. NaN is above all numbers, as in torch.topk.
void SelectTop(const float* row, int64_t width, int64_t count, float* values,
               int64_t* columns);

}  // namespace fff::serving

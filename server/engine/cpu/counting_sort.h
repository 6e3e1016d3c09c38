#pragma once

#include <algorithm>
#include <cstdint>

namespace fff::engine {

// Stable counting sort of row ids by bucket. `bucket(row)` is in [0, buckets);
// `in` lists `count` row ids and `out` receives them.
// `first` is scratch of buckets + 1 ints; afterwards first[b] is where bucket b
// ends and bucket b + 1 begins. O(count + buckets), no allocation.
template <class Bucket>
void CountingSort(const Bucket& bucket, int64_t buckets, const int32_t* in,
                  int64_t count, int32_t* first, int32_t* out) {
  std::fill(first, first + buckets + 1, 0);
  for (int64_t i = 0; i < count; ++i) ++first[bucket(in[i]) + 1];
  for (int64_t b = 0; b < buckets; ++b) first[b + 1] += first[b];
  for (int64_t i = 0; i < count; ++i) {
    const int32_t row = in[i];
    out[first[bucket(row)]++] = row;
  }
}

}  // namespace fff::engine

#include "server/benchmark/input_rows.h"

#include <algorithm>

#include "server/tensor/random.h"

namespace fff::benchmark {
namespace {

// Small enough to leave a 32 MiB last cache to the weights, large enough that
// 768-wide rows end in most of 2048 leaves.
constexpr int64_t kPoolFloats = (int64_t{8} << 20) / 4;
constexpr int64_t kPoolRows = 2048;

int64_t Batches(int64_t batch_rows, int64_t width) {
  const int64_t rows = std::min(kPoolRows, kPoolFloats / width);
  return std::max<int64_t>(1, rows / batch_rows);
}

}  // namespace

InputRows::InputRows(int64_t batch_rows, int64_t width, uint64_t seed)
    : batch_rows_(batch_rows),
      width_(width),
      batches_(Batches(batch_rows, width)),
      values_(batches_ * batch_rows * width) {
  tensor::Random random(seed);
  tensor::FillNormal(random, values_.span());
}

tensor::ConstRows InputRows::batch(int64_t index) const {
  const int64_t first = index % batches_ * batch_rows_;
  return {values_.data() + first * width_, batch_rows_, width_};
}

tensor::ConstRows InputRows::all() const {
  return {values_.data(), rows(), width_};
}

}  // namespace fff::benchmark

#include "server/benchmark/input_rows.h"

#include <algorithm>

namespace fff::benchmark {
namespace {

// Small enough to leave a 32 MiB last cache to the weights, large enough that
// 768-wide rows, or the tokens of sequences, end in most of 2048 leaves.
constexpr int64_t kPoolFloats = (int64_t{8} << 20) / 4;
constexpr int64_t kPoolRows = 2048;

int64_t Batches(int64_t batch_rows, int64_t tokens, int64_t width) {
  const int64_t rows = std::min(kPoolRows / tokens, kPoolFloats / width);
  return std::max<int64_t>(1, rows / batch_rows);
}

int64_t FloatsPerRow(absl::Span<const graph::Port> ports, int64_t tokens) {
  int64_t floats = 0;
  for (const graph::Port& port : ports) {
    floats += port.width() * (port.sequence ? tokens : 1);
  }
  return std::max<int64_t>(floats, 1);
}

}  // namespace

InputRows::InputRows(absl::Span<const graph::Port> ports, int64_t batch_rows,
                     int64_t tokens, uint64_t seed)
    : rows_(ports, {batch_rows, tokens,
                    Batches(batch_rows, tokens, FloatsPerRow(ports, tokens))}) {
  rows_.FillRandom(seed);
}

InputRows::InputRows(int64_t batch_rows, const graph::Graph& graph,
                     uint64_t seed)
    : InputRows(graph.inputs(), batch_rows, model::SampleTokens(graph), seed) {}

InputRows::InputRows(int64_t batch_rows, int64_t width, uint64_t seed)
    : InputRows(
          std::vector<graph::Port>{{"x", tensor::DataType::kF32, {width}}},
          batch_rows, 1, seed) {}

}  // namespace fff::benchmark

#include "server/benchmark/input_rows.h"

#include <algorithm>
#include <cstring>

namespace fff::benchmark {
namespace {

constexpr int64_t kPoolFloats =
    kPoolBytes / static_cast<int64_t>(sizeof(float));

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

InputRows::InputRows(int64_t batch_rows, const graph::Graph& graph,
                     const OwnRows& own)
    : rows_(graph.inputs(), {batch_rows, own.tokens, own.rows / batch_rows}) {
  for (size_t i = 0; i < own.inputs.size(); ++i) {
    if (own.inputs[i].data == nullptr) continue;
    // float32 or int32, both of four bytes.
    const absl::Span<float> values = rows_.values(i);
    std::memcpy(values.data(), own.inputs[i].data,
                values.size() * sizeof(float));
    rows_.Include(i);
  }
}

InputRows::InputRows(int64_t batch_rows, int64_t width, uint64_t seed)
    : InputRows(
          std::vector<graph::Port>{{"x", tensor::DataType::kF32, {width}}},
          batch_rows, 1, seed) {}

}  // namespace fff::benchmark

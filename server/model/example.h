#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/executable.h"
#include "server/graph/graph.h"
#include "server/model/sample_rows.h"

namespace fff::model {

// More of an example's rows, or of their tokens, is an error: a handful proves
// as much, and every load computes them several times.
inline constexpr int64_t kExampleTokensMax = 4096;
// Numbers of its output, which a load holds three times.
inline constexpr int64_t kExampleFloatsMax = int64_t{1} << 24;

// A request and the answer that the code which trained a version gave it: the
// version's example.safetensors. Immutable.
class Example {
 public:
  // Tensor "input.<port>" for every input, optional ones may be absent, and
  // "output.<port>" for the output. Rows come first, then, where rows are
  // sequences of any length, the tokens, of which all rows have as many; the
  // dimensions behind them are the port's, or one flat one. Floats of any
  // width for floats, any integers (BOOL for a mask) for integers, U8 for U8.
  // Touches the disk. INVALID_ARGUMENT names file, tensor, got and wanted;
  // also for NaN and infinity. Else the errors of OpenCheckpoint.
  static absl::StatusOr<Example> Read(const std::string& path,
                                      const graph::Graph& graph);
  static absl::StatusOr<Example> Read(const checkpoint::Checkpoint& file,
                                      const graph::Graph& graph);

  engine::Extent extent() const { return x_->extent(); }
  engine::KernelInputs inputs() const { return x_->batch(0); }
  // [rows, width], or [tokens, width] of an output of sequences.
  tensor::ConstRows wanted() const { return std::as_const(*y_).rows(); }
  // Rows of wanted() per row of the request.
  int64_t wanted_per_row() const { return wanted().rows / extent().rows; }

 private:
  Example(std::unique_ptr<SampleRows> x, std::unique_ptr<SampleOutput> y)
      : x_(std::move(x)), y_(std::move(y)) {}

  std::unique_ptr<SampleRows> x_;
  std::unique_ptr<SampleOutput> y_;
};

}  // namespace fff::model

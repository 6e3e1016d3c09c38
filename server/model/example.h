#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/executable.h"
#include "server/graph/graph.h"
#include "server/model/sample_rows.h"

namespace fff::model {

// More of an example's rows, or of their tokens, is an error: a handful proves
// as much, and every load computes them several times.
inline constexpr int64_t kExampleTokensMax = 4096;
// Numbers of its outputs, which a load holds three times.
inline constexpr int64_t kExampleFloatsMax = int64_t{1} << 24;

// A request and the answer that the code which trained a version gave it: the
// version's example.safetensors. Immutable.
class Example {
 public:
  // Tensor "input.<port>" for every input, optional ones may be absent, and
  // "output.<port>" for one or more of the outputs. Rows come first, then,
  // where rows are sequences of any length, the tokens, of which all rows have
  // as many; the dimensions behind them are the port's, or one flat one. Floats
  // of any width for floats, any integers (BOOL for a mask) for integers, U8
  // for U8. Touches the disk. INVALID_ARGUMENT names file, tensor, got and
  // wanted; also for NaN and infinity. Else the errors of OpenCheckpoint.
  static absl::StatusOr<Example> Read(const std::string& path,
                                      const graph::Graph& graph);
  static absl::StatusOr<Example> Read(const checkpoint::Checkpoint& file,
                                      const graph::Graph& graph);

  engine::Extent extent() const { return x_->extent(); }
  engine::KernelInputs inputs() const { return x_->batch(0); }
  // By output of the network: whether the example has its answers.
  bool has(size_t output) const { return has_[output]; }
  size_t outputs() const { return has_.size(); }
  // [rows, width], or [tokens, width] of an output of sequences.
  tensor::ConstRows wanted(size_t output) const {
    return std::as_const(y_).rows(output);
  }
  // Rows of wanted() per row of the request.
  int64_t wanted_per_row(size_t output) const {
    return wanted(output).rows / extent().rows;
  }

 private:
  Example(std::unique_ptr<SampleRows> x, SampleOutputs y, std::vector<bool> has)
      : x_(std::move(x)), y_(std::move(y)), has_(std::move(has)) {}

  std::unique_ptr<SampleRows> x_;
  SampleOutputs y_;
  std::vector<bool> has_;
};

}  // namespace fff::model

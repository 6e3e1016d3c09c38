#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/benchmark/input_rows.h"
#include "server/benchmark/machine_probe.h"
#include "server/engine/execution_context.h"
#include "server/model/model.h"

namespace fff::benchmark {

// Times one implementation at one batch size. A sample is the mean time of
// `repetitions` calls in a row on successive batches of the inputs. Keeps
// references to everything it is made with. Not thread-safe.
class Sampler {
 public:
  // `flusher` is null (warm weights) or is run before every single call.
  Sampler(const model::Model& model, const InputRows& inputs,
          absl::Span<const tensor::MutableRows> outputs,
          engine::ExecutionContext& context, CacheFlusher* flusher);

  // Runs a few calls: faults pages in, fills caches, and chooses the
  // repetitions so that a sample lasts at least 50 us (one call when cold).
  void Calibrate();

  // Samples for about `block_s` seconds, at least one sample. Calls that are
  // short are preceded by one call that is not counted, because the other
  // implementation has used the caches since the last block.
  void SampleBlock(double block_s);

  const std::vector<double>& samples_s() const { return samples_s_; }
  int64_t repetitions() const { return repetitions_; }
  // Time of all blocks together, uncounted calls and flushes included.
  double spent_s() const { return spent_s_; }

 private:
  double TimeCalls(int64_t calls);  // seconds per call

  const model::Model& model_;
  const InputRows& inputs_;
  absl::Span<const tensor::MutableRows> outputs_;
  engine::ExecutionContext& context_;
  CacheFlusher* flusher_;
  int64_t next_batch_ = 0;
  int64_t repetitions_ = 1;
  double call_s_ = 0;  // estimate from Calibrate
  double spent_s_ = 0;
  std::vector<double> samples_s_;
};

}  // namespace fff::benchmark

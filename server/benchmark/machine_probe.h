#pragma once

#include <cstdint>

#include "server/engine/execution_context.h"
#include "server/tensor/float_array.h"

namespace fff::benchmark {

// Copy bandwidth of this machine, 1e9 bytes per second, bytes read plus bytes
// written: the best of several copies of a buffer far larger than the last
// cache, split over the context's threads. Takes 0.1 to 0.5 s and two buffers
// of at most 256 MiB, freed before it returns.
double MeasureCopyGbps(engine::ExecutionContext& context);

// Floating point operations that this machine does in fp32, 1e9 per second: the
// best of several products of two matrices of 1024 x 1024 with the engine's own
// dense kernel on the context's threads. 0 when there is no such kernel. Takes
// 0.05 to 0.3 s and 20 MiB.
double MeasurePeakGflops(engine::ExecutionContext& context);

// Pushes everything else out of the caches by writing a buffer of twice the
// last cache. Not thread-safe.
class CacheFlusher {
 public:
  CacheFlusher();
  void Flush();

 private:
  tensor::FloatBuffer buffer_;
  float next_ = 1;
};

}  // namespace fff::benchmark

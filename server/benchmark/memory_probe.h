#pragma once

#include <cstdint>

#include "server/engine/execution_context.h"
#include "server/tensor/float_array.h"

namespace fff::benchmark {

// Copy bandwidth of this machine, 1e9 bytes a second, bytes read plus bytes
// written: the best of several copies of a buffer far larger than the last
// cache, split over the context's threads. Takes 0.1 to 0.5 s and two buffers
// of at most 256 MiB, freed before it returns.
double MeasureCopyGbps(engine::ExecutionContext& context);

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

#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "server/tensor/float_array.h"

// Random numbers that are equal on every machine for an equal seed, and fast
// enough to fill gigabytes of weights.
namespace fff::tensor {

// Steele, Lea and Flood's SplitMix64 (OOPSLA 2014): one 64-bit state, every
// seed good. Not thread-safe.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  // Uniform in [0, 1), 24 bits.
  float Uniform();

 private:
  uint64_t state_;
};

// Independent standard-normal values (Box and Muller, 1958).
void FillNormal(Random& random, absl::Span<float> values);

// Independent uniform values in [-limit, limit).
void FillUniform(Random& random, float limit, absl::Span<float> values);

// `count` independent standard-normal values: rows that touch other nodes and
// leaves from row to row.
FloatArray RandomNormal(int64_t count, uint64_t seed = 1);

}  // namespace fff::tensor

#pragma once

#include <cstdint>

#include "absl/types/span.h"

// Random numbers that are equal on every machine for an equal seed, and fast
// enough to fill gigabytes of weights.
namespace fff::benchmark {

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

}  // namespace fff::benchmark

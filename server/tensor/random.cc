#include "server/tensor/random.h"

#include <cmath>
#include <utility>

namespace fff::tensor {

uint64_t Random::Next() {
  state_ += 0x9E3779B97F4A7C15ULL;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

float Random::Uniform() { return static_cast<float>(Next() >> 40) * 0x1p-24F; }

void FillNormal(Random& random, absl::Span<float> values) {
  constexpr double kTwoPi = 6.283185307179586;
  for (size_t i = 0; i < values.size(); i += 2) {
    // 1 - u lies in (0, 1], where the logarithm is finite.
    const double radius =
        std::sqrt(-2 * std::log(1 - static_cast<double>(random.Uniform())));
    const double angle = kTwoPi * static_cast<double>(random.Uniform());
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < values.size()) {
      values[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

void FillUniform(Random& random, float limit, absl::Span<float> values) {
  // Two values per step: gigabytes of weights are drawn before a large case.
  const auto uniform = [limit](uint64_t bits) {
    return limit * (static_cast<float>(bits >> 8) * 0x1p-23F - 1.0F);
  };
  for (size_t i = 0; i < values.size(); i += 2) {
    const uint64_t bits = random.Next();
    values[i] = uniform(bits >> 32);
    if (i + 1 < values.size()) values[i + 1] = uniform(bits & 0xFFFFFFFFU);
  }
}

FloatArray RandomNormal(int64_t count, uint64_t seed) {
  FloatBuffer values(count);
  Random random(seed);
  FillNormal(random, values.span());
  return std::move(values).Freeze();
}

}  // namespace fff::tensor

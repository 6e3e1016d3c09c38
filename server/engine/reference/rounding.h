#pragma once

#include <cstdint>
#include <limits>

// Higham's vocabulary of rounding in fp32, see bounds.h. For oracles only.
namespace fff::engine {

inline constexpr double kUnitRoundoff = 0x1p-24;
inline constexpr double kHalfSubnormal = 0x1p-150;
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kFloatMax = std::numeric_limits<float>::max();

inline double Gamma(int64_t n) {
  const double nu = static_cast<double>(n) * kUnitRoundoff;
  return nu < 1 ? nu / (1 - nu) : kInfinity;
}

// The bound of a sum of `terms` terms whose magnitudes add up to `magnitude`,
// each already off by what adds up to `inherited`.
inline double SumBound(int64_t terms, double magnitude, double inherited) {
  if (!(magnitude + inherited < kFloatMax)) return kInfinity;
  return inherited + Gamma(terms + 1) * (magnitude + inherited) +
         static_cast<double>(terms + 1) * kHalfSubnormal;
}

}  // namespace fff::engine

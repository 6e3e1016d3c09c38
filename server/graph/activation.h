#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/string_view.h"

// The activations: THE list, one row each. Kernels compute them in fp32
// (cpu/activation-inl.h, cuda/row_math.cuh); what they approximate stands here.
namespace fff::graph {

enum class Activation {
  kIdentity,
  kRelu,
  kGelu,      // torch.nn.GELU()
  kGeluTanh,  // torch.nn.GELU(approximate="tanh")
  kSilu,
  kTanh,
  kSigmoid,
};

// act(z) in double; NaN stays NaN, infinities give the limits.
namespace exact {

inline double Identity(double z) { return z; }
inline double Relu(double z) { return std::isnan(z) ? z : std::fmax(z, 0.0); }
// 0 * -infinity is wanted as 0, the limit, here and below.
inline bool IsLowest(double z) {
  return z == -std::numeric_limits<double>::infinity();
}
// erfc keeps its relative accuracy in the left tail.
inline double Gelu(double z) {
  return IsLowest(z) ? 0.0 : 0.5 * z * std::erfc(-z * std::sqrt(0.5));
}
inline double GeluTanh(double z) {
  const double inner = std::sqrt(2 / M_PI) * (z + 0.044715 * z * z * z);
  return IsLowest(z) ? 0.0 : z / (1 + std::exp(-2 * inner));
}
inline double Silu(double z) {
  return IsLowest(z) ? 0.0 : z / (1 + std::exp(-z));
}
inline double Tanh(double z) { return std::tanh(z); }
inline double Sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

}  // namespace exact

struct ActivationInfo {
  Activation activation;
  absl::string_view name;  // as config.json and reports say it
  double (*exact)(double);
  double slope_max;  // the largest of the function, by magnitude
};

// In the order in which messages list them.
inline constexpr ActivationInfo kActivationTable[] = {
    {Activation::kRelu, "relu", exact::Relu, 1},
    {Activation::kGelu, "gelu", exact::Gelu, 1.13},
    {Activation::kGeluTanh, "gelu_tanh", exact::GeluTanh, 1.13},
    {Activation::kSilu, "silu", exact::Silu, 1.1},
    {Activation::kTanh, "tanh", exact::Tanh, 1},
    {Activation::kSigmoid, "sigmoid", exact::Sigmoid, 0.25},
    {Activation::kIdentity, "identity", exact::Identity, 1},
};
inline constexpr size_t kActivationCount = std::size(kActivationTable);

inline constexpr std::array<Activation, kActivationCount> kActivations = [] {
  std::array<Activation, kActivationCount> all{};
  for (size_t i = 0; i < kActivationCount; ++i) {
    all[i] = kActivationTable[i].activation;
  }
  return all;
}();

// The row of an activation.
inline const ActivationInfo& InfoOf(Activation activation) {
  size_t i = 0;
  while (kActivationTable[i].activation != activation) ++i;
  return kActivationTable[i];
}
inline absl::string_view Name(Activation activation) {
  return InfoOf(activation).name;
}

// Calls f(std::integral_constant<Activation, activation>), so that f may use it
// as a constant.
template <class F, size_t... kIndex>
void WithActivationOf(Activation activation, const F& f,
                      std::index_sequence<kIndex...>) {
  (void)((kActivations[kIndex] == activation &&
          (f(std::integral_constant<Activation, kActivations[kIndex]>{}),
           true)) ||
         ...);
}
template <class F>
void WithActivation(Activation activation, const F& f) {
  WithActivationOf(activation, f, std::make_index_sequence<kActivationCount>{});
}

}  // namespace fff::graph

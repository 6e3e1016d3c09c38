#include "server/importer/activation_names.h"

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace fff::importer {
namespace {

using graph::Activation;

// Other names of the same functions, as Plain leaves them.
constexpr std::pair<absl::string_view, Activation> kSpellings[] = {
    {"gelu(approximate='none')", Activation::kGelu},  // torch's repr
    {"gelu(approximate='tanh')", Activation::kGeluTanh},
    {"geluerf", Activation::kGelu},
    // transformers/activations.py.
    {"gelupython", Activation::kGelu},
    {"gelunew", Activation::kGeluTanh},
    {"gelufast", Activation::kGeluTanh},
    {"gelupytorchtanh", Activation::kGeluTanh},
    {"swish", Activation::kSilu},
    {"linear", Activation::kIdentity},
    {"none", Activation::kIdentity},
};

// In lower case without blanks, "-" and "_", the module in front and the empty
// call behind.
std::string Plain(absl::string_view text) {
  std::string kept;
  for (const char c : text) {
    if (c == ' ' || c == '-' || c == '_') continue;
    kept += absl::ascii_tolower(static_cast<unsigned char>(c));
  }
  absl::string_view plain = kept;
  for (const char* module :
       {"torch.", "jax.", "flax.linen.", "nn.", "functional.", "f."}) {
    plain = absl::StripPrefix(plain, module);
  }
  return std::string(absl::StripSuffix(plain, "()"));
}

}  // namespace

std::optional<Activation> ActivationNamed(absl::string_view text) {
  const std::string plain = Plain(text);
  for (const Activation activation : graph::kActivations) {
    if (Plain(graph::Name(activation)) == plain) return activation;
  }
  for (const auto& [spelling, activation] : kSpellings) {
    if (spelling == plain) return activation;
  }
  return std::nullopt;
}

}  // namespace fff::importer

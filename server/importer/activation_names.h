#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "server/graph/problem.h"

namespace fff::importer {

// The activation that `text` names: our own name, or that of PyTorch, flax or
// Hugging Face for the same function ("ReLU", "nn.SiLU()", "swish",
// "gelu_new"). Upper and lower case, blanks, "-" and "_" make no difference.
// Nothing for a function that is not served ("quick_gelu", "leaky_relu") and
// for any other text. Pure.
std::optional<graph::Activation> ActivationNamed(absl::string_view text);

}  // namespace fff::importer

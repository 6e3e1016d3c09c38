#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/importer/convention.h"

// The public code bases whose checkpoints are known: the one list. Those whose
// layout has no reader are known so that they are refused by their names, and
// never served as another.
namespace fff::importer {

// In the order in which messages list them. Rows of one name stand side by
// side: the same function with other names of its tensors.
absl::Span<const Convention> Conventions();

// The first row of that name or alias, in any case of letters; null when there
// is none.
const Convention* FindConvention(absl::string_view name);

// The names that are served, each once, as `"a", "b"`.
std::string ConventionNames();

}  // namespace fff::importer

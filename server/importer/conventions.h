#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/importer/convention.h"

// The public code bases whose checkpoints are served: the one list.
namespace fff::importer {

// In the order in which messages list them.
absl::Span<const Convention> Conventions();

// Null when there is no such convention.
const Convention* FindConvention(absl::string_view name);

// All names, comma separated, for messages.
std::string ConventionNames();

}  // namespace fff::importer

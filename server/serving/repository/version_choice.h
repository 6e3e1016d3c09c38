#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/importer/model_config.h"

namespace fff::serving {

// The versions to serve of those on disk (ascending), by the model's policy,
// ascending. Pure. `latest: n` takes the n highest; `specific` takes those that
// are listed, on disk or not, so that a missing one is reported as a failure.
std::vector<int64_t> ChooseVersions(const importer::VersionPolicy& policy,
                                    absl::Span<const int64_t> on_disk);

}  // namespace fff::serving
